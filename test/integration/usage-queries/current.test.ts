import { expect } from 'chai';
import type { CountersState, Slot } from '../../../shared/state/metering-state.js';
import { UsageStores } from './usage-stores.js';

const zero = { calls: 0, tokens: 0, inputTokens: 0, outputTokens: 0, byEndpoint: {}, byModel: {} };

function slot(start: number, calls: number): Slot {
  return {
    ...{ owner: undefined, start, calls, tokens: 10 * calls, inputTokens: calls, outputTokens: 2 * calls },
    byEndpoint: new Map([['__proto__', { calls, tokens: 10 * calls }]]),
    byModel: new Map(),
  };
}

/** Slots of this and the last minute, hour and day. */
function countersAt(now: number): CountersState {
  const slots = (ms: number, calls: number): Map<number, Slot> => {
    const start = now - (now % ms);
    return new Map([
      [start - ms, slot(start - ms, 99)],
      [start, slot(start, calls)],
    ]);
  };
  return {
    ...{ owner: undefined, nameBytes: 0, staleAfter: 0 },
    ...{ minutes: slots(60_000, 1), hours: slots(3_600_000, 2), days: slots(86_400_000, 3) },
  };
}

describe('usage queries: GET /usage/current', () => {
  let stores: UsageStores;

  beforeEach(async () => {
    stores = await UsageStores.start();
  });
  afterEach(() => stores.close());

  it('shows the present minute, hour and day', async () => {
    await stores.partition({});
    const read = async () => (await stores.get('/usage/current?customerId=c1')).body;
    const minuteOf = (asOf: unknown): number => Math.floor(Date.parse(asOf as string) / 60_000);
    let body = await read();
    // Once more if the minute ended between writing and reading.
    for (let tries = 0; tries < 2; tries++) {
      const now = Date.parse(body['asOf'] as string);
      await stores.counters(countersAt(now));
      body = await read();
      if (minuteOf(body['asOf']) === Math.floor(now / 60_000)) break;
    }
    const now = Date.parse(body['asOf'] as string);
    const view = (ms: number, calls: number): object => ({
      start: new Date(now - (now % ms)).toISOString(),
      end: new Date(now - (now % ms) + ms).toISOString(),
      ...{ calls, tokens: 10 * calls, inputTokens: calls, outputTokens: 2 * calls },
      byEndpoint: JSON.parse(`{"__proto__":{"calls":${calls},"tokens":${10 * calls}}}`) as object,
      byModel: {},
    });
    expect(body).to.deep.equal({
      ...{ tenantId: 't1', customerId: 'c1' },
      ...{ minute: view(60_000, 1), hour: view(3_600_000, 2), day: view(86_400_000, 3) },
      ...{ watermark: body['asOf'], asOf: body['asOf'] },
    });
  });

  it('shows zeros for an unknown customer, and for counters that are of the past', async () => {
    await stores.counters(countersAt(Date.now() - 3 * 86_400_000), 't1', 'asleep');
    for (const customer of ['nobody', 'asleep']) {
      const { status, body } = await stores.get(`/usage/current?customerId=${customer}`);
      expect(status).to.equal(200);
      for (const span of ['minute', 'hour', 'day']) expect(body[span]).to.include({ calls: 0, tokens: 0 });
      expect(body['minute']).to.deep.include(zero);
    }
  });

  it('answers while Postgres is away', async () => {
    await stores.lockOut();
    expect((await stores.get('/usage/current?customerId=c1')).status).to.equal(200);
  });

  it('answers 422 to what is wrong', async () => {
    for (const query of ['', '?customerId=', '?customerId=c1&from=x', '?customerId=a&customerId=b']) {
      const { status, body } = await stores.get(`/usage/current${query}`);
      expect([status, body['code']]).to.deep.equal([422, 'invalid_request']);
    }
  });
});
