import { expect } from 'chai';
import { until } from '../../../support/redis-server.js';
import { expectNoDrift } from '../../../support/run-reconcile.js';
import { WeirFixture } from '../../../support/weir-fixture.js';
import { Caller, type Problem } from './caller.js';
import { QUICK, windowToCome } from './quick.js';
import { iso, usage } from './usage.js';

describe('contract: GET /usage/events/{eventId}', () => {
  let weir: WeirFixture;
  let caller: Caller;
  before(async () => {
    weir = await WeirFixture.start({ postgres: true, settings: QUICK });
    caller = new Caller(weir.http);
  });
  after(() => weir.close());

  it('traces an event to the window that counted it', async () => {
    const start = windowToCome();
    await caller.post(usage('traced', { eventId: 'on-time', timestamp: iso(start + 999) }));
    const receipt = await caller.receiptWhen('on-time');
    expect(receipt).to.include({
      eventId: 'on-time',
      status: 'accepted',
      windowStart: iso(start),
      windowRevision: 1,
      duplicates: 0,
      archived: true,
    });
  });

  it('says late, and which revision counted it', async () => {
    const start = windowToCome();
    await caller.post(usage('late', { timestamp: iso(start) }));
    await caller.windowWhen('late', start, 'closed', ({ status }) => status === 'closed');
    for (const revision of [2, 3]) {
      const eventId = `late-${revision}`;
      await caller.post(usage('late', { eventId, timestamp: iso(start) }));
      const wanted = { status: 'late', windowStart: iso(start), windowRevision: revision };
      expect(await caller.receiptWhen(eventId)).to.include(wanted);
      await caller.windowWhen('late', start, 'settled', (w) => w.revision === revision && !w.settling);
    }
  });

  it('counts the duplicates', async () => {
    const event = usage('again', { eventId: 'again' });
    for (let i = 0; i < 4; i += 1) await caller.post(event);
    const receipt = await caller.receiptWhen('again', ({ duplicates }) => duplicates === 3);
    expect(receipt.status).to.equal('accepted');
    await caller.counted('again', 1);
  });

  it('takes ids of 128 characters in any script', async () => {
    for (const eventId of ['漢'.repeat(128), 'a/b c%?#:+&"\\', '💳', '__proto__', '...', '.a']) {
      await caller.post(usage('ids', { eventId }));
      expect((await caller.receiptWhen(eventId)).eventId).to.equal(eventId);
    }
  });

  it('answers 404 for what is not archived, and for another tenant’s event', async () => {
    await caller.post(usage('mine', { eventId: 'mine' }));
    await caller.receiptWhen('mine');
    for (const answer of [
      await caller.receipt('never-sent'),
      await new Caller(weir.http, 'somebody-else').receipt('mine'),
    ]) {
      expect([answer.status, answer.body.code]).to.deep.equal([404, 'receipt_not_found']);
      expect(answer.headers.get('content-type')).to.equal('application/problem+json');
    }
    const anonymous = await weir.http.get<Problem>('/usage/events/mine');
    expect([anonymous.status, anonymous.body.code]).to.deep.equal([422, 'invalid_request']);
  });

  it('says which tokens counted: those of the first', async () => {
    for (const tokens of [7, 8, 9]) {
      await caller.post(usage('tokens', { eventId: 'tokens', metadata: { tokens } }));
    }
    const receipt = await caller.receiptWhen('tokens', ({ duplicates }) => duplicates === 2);
    expect(receipt).to.deep.include({ tokens: 7, counted: 1 });
    expect((await caller.counted('tokens', 1)).day.tokens).to.equal(7);
  });

  it('asks which customer is meant where several use the id', async () => {
    for (const customer of ['one', 'two']) {
      await caller.post(usage(customer, { eventId: 'shared' }));
      await caller.receiptWhen('shared', () => true, { customerId: customer });
    }
    const { status, body } = await caller.get<Problem & { customers: string[] }>('/usage/events/shared');
    expect([status, body.code, body.customers]).to.deep.equal([409, 'ambiguous_event', ['one', 'two']]);
  });
});

describe('contract: an id that comes back after DEDUPE_WINDOW_SECONDS', () => {
  it('counts again; the receipt, a metric and the reconciler say so', async () => {
    const settings = { ...QUICK, DEDUPE_WINDOW_SECONDS: '1', RECONCILE_INTERVAL_SECONDS: '1' };
    const weir = await WeirFixture.start({ postgres: true, settings, workers: 0 });
    try {
      const { opsUrl } = await weir.worker();
      await weir.ready();
      const counted = async (): Promise<number> => {
        const text = await (await fetch(`${opsUrl}/metrics`)).text();
        return Number(/^weir_usage_counted_again_total (\d+)$/m.exec(text)![1]);
      };
      expect(await counted()).to.equal(0);
      const caller = new Caller(weir.http);
      const event = usage('again', { eventId: 'again', timestamp: iso(windowToCome()) });
      await caller.post(event);
      const first = await caller.receiptWhen('again');
      // The event's own time stays: every repetition is of the same window, and later ones are late.
      await until(15_000, 'it counts again', async () => {
        await caller.post(event);
        return (await caller.current('again')).day.calls > 1;
      });
      await weir.usage.drained();
      // On a slow machine it may have been forgotten more than once.
      const times = (await caller.current('again')).day.calls;
      const receipt = await caller.receiptWhen('again', (seen) => seen.counted === times);
      expect(receipt.counts).to.have.length(times);
      expect(receipt.counts[0]).to.deep.equal({ windowStart: event.timestamp, windowRevision: 1 });
      expect(receipt.counts[1]!.windowStart).to.equal(event.timestamp);
      const { status, windowStart, windowRevision } = first;
      expect(receipt).to.include({ status, windowStart, windowRevision });
      await until(15_000, 'it is in the metric', async () => (await counted()) === times - 1);
      const lines = (await expectNoDrift(weir.environment)).split('\n');
      const at = lines.indexOf('no drift');
      expect(lines.slice(at + 1, at + 3)).to.deep.equal([
        `1 id(s) came back after DEDUPE_WINDOW_SECONDS and counted ${times - 1} more time(s):`,
        `  acme "again" "again": ${times} times`,
      ]);
    } finally {
      await weir.close();
    }
  });
});
