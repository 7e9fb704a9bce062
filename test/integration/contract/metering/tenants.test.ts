import { expect } from 'chai';
import { until } from '../../../support/redis-server.js';
import { WeirFixture } from '../../../support/weir-fixture.js';
import { Caller, type Problem, summaryPath, windowsPath } from './caller.js';
import { QUICKLY_COLD, windowToCome } from './quick.js';
import { iso, usage, usages } from './usage.js';

/** Names that a careless key or query would take for one another, or for something else. */
const TENANTS = ['acme', 'acme-', 'acm', 'ACME', '_', '0'] as const;
const CUSTOMER = "c:1' OR true --";

describe('contract: tenants', () => {
  let weir: WeirFixture;
  let past: number;
  let ahead: number;
  before(async () => {
    weir = await WeirFixture.start({ postgres: true, settings: QUICKLY_COLD });
    past = windowToCome() - 600_000;
    ahead = windowToCome() + 600_000;
    // The same customer and the same ids everywhere: one call of the first tenant, two of the second, and so on.
    for (const [i, tenantId] of TENANTS.entries()) {
      const caller = new Caller(weir.http, tenantId);
      for (let n = 0; n <= i; n += 1) {
        for (const start of [past, ahead]) {
          const eventId = `${start === past ? 'cold' : 'hot'}-${n}`;
          await caller.post(usage(CUSTOMER, { tenantId, eventId, timestamp: iso(start) }));
        }
      }
    }
    await weir.usage.drained();
    await weir.usage.archived();
  });
  after(() => weir.close());

  it('each sees its own usage of a customer of the same name, hot and cold, and nothing of the others', async () => {
    for (const [i, tenant] of TENANTS.entries()) {
      const caller = new Caller(weir.http, tenant);
      const windows = await caller.windows(CUSTOMER);
      expect(
        windows.map(({ windowStart, aggregations }) => [windowStart, aggregations.totalCalls]),
      ).to.deep.equal([
        [iso(past), i + 1],
        [iso(ahead), i + 1],
      ]);
      for (const window of windows) expect(window.tenantId).to.equal(tenant);
      const summary = await caller.get<{ total: { calls: number } }>(
        summaryPath(CUSTOMER, past, ahead + 1000, { window: '1d', groupBy: 'endpoint' }),
      );
      expect(summary.body.total.calls).to.equal(2 * (i + 1));
      const csv = await caller.get(summaryPath(CUSTOMER, past, past + 1000, { window: '1d' }), {
        accept: 'text/csv',
      });
      expect(csv.text.split('\r\n')[1]).to.match(new RegExp(`^[^,]+,[^,]+,${i + 1},`));
      for (let n = 0; n < TENANTS.length; n += 1) {
        for (const kind of ['hot', 'cold']) {
          const { status, body } = await caller.receipt(`${kind}-${n}`);
          expect([tenant, status]).to.deep.equal([tenant, n <= i ? 200 : 404]);
          if (n <= i) expect(body.duplicates).to.equal(0);
        }
      }
    }
  });

  it('one that has nothing sees nothing on any path', async () => {
    const stranger = new Caller(weir.http, 'stranger');
    expect(await stranger.windows(CUSTOMER)).to.deep.equal([]);
    expect((await stranger.current(CUSTOMER)).day.calls).to.equal(0);
    const path = summaryPath(CUSTOMER, past, ahead + 1000);
    expect((await stranger.get<{ rows: unknown[] }>(path)).body.rows).to.deep.equal([]);
    const csv = await stranger.get(path, { accept: 'text/csv' });
    expect(csv.text.split('\r\n').slice(1)).to.deep.equal(['']);
    expect((await stranger.receipt('hot-0')).status).to.equal(404);
  });

  it('a cursor of one tenant is refused to another', async () => {
    const page = await new Caller(weir.http, 'acme-').page(CUSTOMER, past, ahead + 1, { limit: 1 });
    const path = windowsPath(CUSTOMER, past, ahead + 1, { limit: 1, cursor: page.nextCursor });
    const { status, body } = await new Caller(weir.http, 'ACME').get<Problem>(path);
    expect([status, body.code]).to.deep.equal([422, 'invalid_request']);
  });

  it('customer names that contain other names and separators stay apart', async () => {
    const caller = new Caller(weir.http);
    const customers = ['a', 'a:b', 'a:b:1', '1:a', 'window:acme:1:a', '%', '*', '__proto__', 'ä', 'a ', ' a'];
    const at = iso(ahead);
    for (const [i, customer] of customers.entries()) {
      await caller.postAll(usages(i + 1, customer, { timestamp: at }));
    }
    await weir.usage.drained();
    for (const [i, customer] of customers.entries()) {
      const window = await caller.window(customer, ahead);
      expect([customer, window?.customerId, window?.aggregations.totalCalls]).to.deep.equal([
        customer,
        customer,
        i + 1,
      ]);
    }
  });

  it('a tenant is made when it is first seen, and only then known to Postgres', async () => {
    const caller = new Caller(weir.http, 'newcomer');
    expect((await caller.receipt('first')).status).to.equal(404);
    await caller.post(usage('c', { tenantId: 'newcomer', eventId: 'first' }));
    await until(10_000, 'the receipt is there', async () => (await caller.receipt('first')).status === 200);
  });
});
