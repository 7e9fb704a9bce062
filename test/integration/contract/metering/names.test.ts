import { expect } from 'chai';
import { until } from '../../../support/redis-server.js';
import { WeirFixture } from '../../../support/weir-fixture.js';
import { Caller, type NamedView, summaryPath, type WindowView } from './caller.js';
import { QUICKLY_COLD, windowToCome } from './quick.js';
import { iso, TENANT, usage } from './usage.js';

/** Names that are names of something else in the language, in JSON, in SQL or in weir. */
const NAMES = [
  ...['__proto__', 'constructor', 'toString', 'hasOwnProperty', 'prototype', 'null', 'undefined', '0', '-1'],
  ...["'; DROP TABLE usage_events; --", '\\u0000', '\u2028', '\t', '💳', '漢'.repeat(128), ' ', '{}', '[1]'],
  ...['a\tb', '\\N', '"', '\\.', '%s', '$1', ':', '__other__'],
];

/** Own members only, as they stand in the JSON. */
function named(view: Readonly<Record<string, NamedView>>): Map<string, NamedView> {
  return new Map(Object.entries(view));
}

describe('contract: names are data', () => {
  let weir: WeirFixture;
  let caller: Caller;
  before(async () => {
    weir = await WeirFixture.start({ postgres: true, settings: QUICKLY_COLD });
    caller = new Caller(weir.http);
  });
  after(() => weir.close());

  it('endpoints and models of any name are counted under it, hot, closed and cold', async () => {
    const start = windowToCome();
    const events = NAMES.map((name, i) =>
      usage('names', {
        timestamp: iso(start),
        apiEndpoint: name,
        metadata: { tokens: i + 1, model: name },
      }),
    );
    await caller.postAll([
      ...events,
      ...events.map((event) => ({ ...event, eventId: `${event.eventId}-2` })),
    ]);
    const expected = new Map(NAMES.map((name, i) => [name, { calls: 2, tokens: 2 * (i + 1) }]));
    const expectNames = ({ aggregations }: WindowView) => {
      expect(named(aggregations.byEndpoint)).to.deep.equal(expected);
      expect(named(aggregations.byModel)).to.deep.equal(expected);
    };
    const isComplete = ({ aggregations }: WindowView) => aggregations.totalCalls === 2 * NAMES.length;
    expectNames(await caller.windowWhen('names', start, 'complete', isComplete));
    const { day } = await caller.current('names');
    expect([named(day.byEndpoint), named(day.byModel)]).to.deep.equal([expected, expected]);
    expectNames(await caller.windowWhen('names', start, 'closed', ({ status }) => status === 'closed'));
    await until(15_000, 'the window has left Redis', async () => {
      return (await weir.usage.hotWindows(TENANT, 'names')).length === 0;
    });
    expectNames((await caller.window('names', start))!);
    // A correction in Postgres reads what is there and writes it again.
    const late = usage('names', { timestamp: iso(start), apiEndpoint: '__proto__', metadata: { tokens: 0 } });
    await caller.post(late);
    const corrected = await caller.windowWhen('names', start, 'corrected', ({ revision }) => revision === 2);
    expect(named(corrected.aggregations.byEndpoint).get('__proto__')).to.deep.equal({ calls: 3, tokens: 2 });
    const path = summaryPath('names', start, start + 1, { window: '1m', groupBy: 'model' });
    const { body } = await caller.get<{ rows: { groups: (NamedView & { name: string })[] }[] }>(path);
    const groups = new Map(body.rows[0]!.groups.map(({ name, ...figures }) => [name, figures]));
    expect(groups).to.deep.equal(expected);
  });

  it('metadata may have members of any name, and a customer and a tenant too', async () => {
    const tenantId = 'constructor';
    const proto = JSON.stringify(usage('__proto__', { tenantId, eventId: 'p' })).replace(
      '"metadata":{',
      '"metadata":{"__proto__":{"tokens":99},"constructor":1,"toString":null,',
    );
    const own = new Caller(weir.http, tenantId);
    const { status } = await weir.http.post('/usage', proto);
    expect(status).to.equal(202);
    const { day } = await own.counted('__proto__', 1);
    expect(day.tokens).to.equal(10);
    expect(await own.receiptWhen('p')).to.include({ status: 'accepted' });
    expect(({} as { tokens?: number }).tokens).to.equal(undefined);
  });

  it('beyond WINDOW_DIMENSIONS_MAX they are counted together, and no total is lost', async () => {
    const few = await WeirFixture.start({ settings: { WINDOW_DIMENSIONS_MAX: '3' } });
    try {
      const teller = new Caller(few.http);
      const start = windowToCome(30_000);
      const events = Array.from({ length: 50 }, (_, i) => `e${i % 10}`).map((name) =>
        usage('many', { timestamp: iso(start), apiEndpoint: name, metadata: { tokens: 1, model: name } }),
      );
      await teller.postAll(events);
      const { aggregations } = await teller.windowWhen(
        'many',
        start,
        'complete',
        (window) => window.aggregations.totalCalls === 50,
      );
      const expected = {
        e0: { calls: 5, tokens: 5 },
        e1: { calls: 5, tokens: 5 },
        e2: { calls: 5, tokens: 5 },
        __other__: { calls: 35, tokens: 35 },
      };
      expect([aggregations.byEndpoint, aggregations.byModel]).to.deep.equal([expected, expected]);
    } finally {
      await few.close();
    }
  });
});
