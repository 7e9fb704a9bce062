import { expect } from 'chai';
import { until } from '../../../support/redis-server.js';
import { WeirFixture } from '../../../support/weir-fixture.js';
import { Caller, type WindowView } from './caller.js';
import { QUICK_WINDOW_MS, QUICKLY_COLD, windowToCome } from './quick.js';
import { EXAMPLE, exampleEvents } from './seed-example.js';
import { iso, TENANT } from './usage.js';

const CUSTOMER = 'customer-42';

/** The members that were asked for; weir's answers have more. */
function asked({ windowStart, windowEnd, tenantId, customerId, aggregations }: WindowView): object {
  return { windowStart, windowEnd, tenantId, customerId, aggregations };
}

describe("contract: the seed's example, from events to the window's JSON", () => {
  let weir: WeirFixture;
  afterEach(() => weir.close());

  it('a window of 30 s has exactly these figures, field by field, as soon as its events are counted', async () => {
    weir = await WeirFixture.start();
    const caller = new Caller(weir.http);
    const start = windowToCome(30_000);
    await caller.postAll(exampleEvents(CUSTOMER, start, 30_000));
    const window = await caller.windowWhen(
      CUSTOMER,
      start,
      'complete',
      ({ aggregations }) => aggregations.totalCalls === 1543,
    );
    expect(asked(window)).to.deep.equal({
      windowStart: iso(start),
      windowEnd: iso(start + 30_000),
      tenantId: TENANT,
      customerId: CUSTOMER,
      aggregations: EXAMPLE,
    });
    expect([window.status, window.revision]).to.deep.equal(['open', 0]);
    expect((await caller.windows(CUSTOMER)).length).to.equal(1);
  });

  it('… and keeps them when it closes, and when it has moved from Redis to Postgres', async () => {
    weir = await WeirFixture.start({ postgres: true, workers: 2, settings: QUICKLY_COLD });
    const caller = new Caller(weir.http);
    const start = windowToCome();
    const expected = {
      windowStart: iso(start),
      windowEnd: iso(start + QUICK_WINDOW_MS),
      tenantId: TENANT,
      customerId: CUSTOMER,
      aggregations: EXAMPLE,
    };
    const events = exampleEvents(CUSTOMER, start, QUICK_WINDOW_MS);
    await caller.postAll(events);
    // All of it once more: who does not know whether a batch was taken sends it again.
    await caller.postAll(events);
    const closed = await caller.windowWhen(CUSTOMER, start, 'closed', ({ status }) => status === 'closed');
    expect(asked(closed)).to.deep.equal(expected);
    expect(closed.revision).to.equal(1);
    await until(15_000, 'the window has left Redis', async () => {
      return (await weir.usage.hotWindows(TENANT, CUSTOMER)).length === 0;
    });
    const cold = await caller.window(CUSTOMER, start);
    expect(asked(cold!)).to.deep.equal(expected);
    expect([cold!.status, cold!.revision]).to.deep.equal(['closed', 1]);
  });
});
