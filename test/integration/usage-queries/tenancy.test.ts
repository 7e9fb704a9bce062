import { expect } from 'chai';
import type { Kysely } from 'kysely';
import pg from 'pg';
import { findReceipts } from '../../../shared/postgres/repositories/receipts-repository.js';
import {
  countWindows,
  findWindows,
  findWindowsAt,
} from '../../../shared/postgres/repositories/windows-repository.js';
import type { Schema } from '../../../shared/postgres/schema.js';
import {
  TenantDatabase,
  TenantRequired,
  type TenantTransaction,
  withTenant,
} from '../../../shared/postgres/tenant-context.js';
import { HotUsage } from '../../../shared/usage/hot-usage.js';
import { TEN, UsageStores, WINDOW_MS } from './usage-stores.js';

const RANGE = `from=${new Date(TEN).toISOString()}&to=${new Date(TEN + 10 * WINDOW_MS).toISOString()}`;

const ANY = { customer: undefined, source: undefined };

describe('usage queries: tenants', () => {
  let stores: UsageStores;

  before(async () => {
    stores = await UsageStores.start();
    // Both tenants have a customer of the same name, with the same windows and event ids, hot and cold.
    for (const [tenant, calls] of [
      ['t1', 1],
      ['t2', 1000],
    ] as const) {
      await stores.partition({ coldUntil: TEN + WINDOW_MS }, { tenant });
      await stores.archivedWindow(TEN, { calls, tokens: calls }, tenant);
      await stores.hotWindow(TEN + WINDOW_MS, { calls, tokens: calls }, tenant);
      await stores.archivedEvent('e1', { tenant, index: calls, windowRevision: calls });
    }
    await stores.archivedEvent('only-t2', { tenant: 't2', index: 5 });
    await stores.archivedWindow(TEN, {}, 't2', 'only-t2');
    await stores.hotWindow(TEN + WINDOW_MS, {}, 't2', 'only-t2');
    await stores.partition({ coldUntil: TEN + WINDOW_MS }, { tenant: 't1', customer: 'only-t2' });
  });
  after(() => stores.close());

  const paths = [
    `/usage/windows?customerId=c1&${RANGE}`,
    `/usage/summary?customerId=c1&${RANGE}`,
    '/usage/current?customerId=c1',
    '/usage/events/e1',
  ];

  it('answers 422 without a tenant, or with one that is none', async () => {
    for (const path of paths) {
      for (const headers of [
        {},
        { 'x-tenant-id': '' },
        { 'x-tenant-id': 't1, t2' },
        { 'x-tenant-id': "t1' OR '1" },
      ]) {
        const { status, body } = await stores.api.request('GET', path, undefined, headers);
        expect([status, body['code']]).to.deep.equal([422, 'invalid_request']);
        expect((body['errors'] as { path: string }[])[0]!.path).to.equal('X-Tenant-Id');
      }
    }
  });

  it('shows each tenant its own windows, sums and receipts', async () => {
    for (const [tenant, calls] of [
      ['t1', 1],
      ['t2', 1000],
    ] as const) {
      const [windows, summary, current, receipt] = await Promise.all(
        paths.map((path) => stores.get(path, tenant)),
      );
      const shown = windows!.body['windows'] as { tenantId: string; aggregations: { totalCalls: number } }[];
      expect(shown.map((one) => [one.tenantId, one.aggregations.totalCalls])).to.deep.equal([
        [tenant, calls],
        [tenant, calls],
      ]);
      expect(summary!.body['total']).to.include({ calls: 2 * calls });
      expect(current!.body['tenantId']).to.equal(tenant);
      expect(receipt!.body).to.include({ windowRevision: calls, duplicates: 0 });
    }
  });

  it('shows a tenant nothing of what only another has', async () => {
    const windows = await stores.get(`/usage/windows?customerId=only-t2&${RANGE}`);
    expect([windows.status, windows.body['windows']]).to.deep.equal([200, []]);
    const summary = await stores.get(`/usage/summary?customerId=only-t2&${RANGE}`);
    expect([summary.status, summary.body['rows']]).to.deep.equal([200, []]);
    const receipt = await stores.get('/usage/events/only-t2');
    expect([receipt.status, receipt.body['code']]).to.deep.equal([404, 'receipt_not_found']);
    expect((await stores.get('/usage/events/only-t2', 't2')).status).to.equal(200);
  });

  it('keeps concurrent requests of many tenants apart', async () => {
    const answers = await Promise.all(
      Array.from({ length: 60 }, async (_, i) => {
        const tenant = i % 2 === 0 ? 't1' : 't2';
        const { body } = await stores.get(`/usage/summary?customerId=c1&${RANGE}&window=1d`, tenant);
        return [tenant, (body['total'] as { calls: number }).calls];
      }),
    );
    for (const [tenant, calls] of answers) expect(calls).to.equal(tenant === 't1' ? 2 : 2000);
  });
});

describe('usage queries: no context, no query', () => {
  const range = { from: TEN, to: TEN + WINDOW_MS };
  /** One that cannot even connect: what is refused here is refused before a byte is sent. */
  const pool = new pg.Pool({ connectionString: 'postgres://a:b@127.0.0.1:1/c' });
  const database = new TenantDatabase(pool, 'key');
  after(() => pool.end());

  async function refused(work: () => Promise<unknown>): Promise<void> {
    const error = await work().catch((reason: unknown) => reason);
    expect(error).to.be.instanceOf(TenantRequired);
  }

  it('cannot begin a transaction', () => refused(() => database.transaction(async () => 1)));

  it('cannot call a repository, not even with a transaction that somebody kept', async () => {
    const kept = {
      selectFrom: () => {
        throw new Error('a query was made');
      },
    } as unknown as TenantTransaction;
    // A builder that was asked for a table only: the filters are what refuses.
    const builder = { select: () => builder, where: () => builder } as unknown;
    const trx = { ...kept, selectFrom: () => builder } as unknown as TenantTransaction;
    await refused(() => findWindows(trx, 'c', range, 1, 1));
    await refused(() => findWindowsAt(trx, 'c', [TEN], 1));
    await refused(() => countWindows(trx, 'c', range, 1));
    await refused(() => findReceipts(trx, 'e', ANY));
  });

  it('cannot read Redis', async () => {
    const untouched = new Proxy({}, { get: () => () => Promise.reject(new Error('Redis was asked')) });
    const hot = new HotUsage({ redis: untouched, keys: untouched } as never);
    await refused(() => hot.watermark('c'));
    await refused(() => hot.index('c', range, 1));
    await refused(() => hot.count('c', range));
    await refused(() => hot.windows('c', [TEN], 1));
    await refused(() => hot.counters('c'));
  });

  it('cannot be compiled with a transaction that is no tenant’s', () => {
    const plain = {} as Kysely<Schema>;
    const calls = [
      // @ts-expect-error a repository takes what TenantDatabase.transaction makes, and nothing else
      () => findWindows(plain, 'c', range, 1, 1),
      // @ts-expect-error see above
      () => findWindowsAt(plain, 'c', [TEN], 1),
      // @ts-expect-error see above
      () => countWindows(plain, 'c', range, 1),
      // @ts-expect-error see above
      () => findReceipts(plain, 'e', ANY),
    ];
    expect(calls).to.have.length(4);
  });

  it('runs inside of a context', async () => {
    const error = await withTenant('t1', () =>
      database.transaction((trx) => findWindows(trx, 'c', range, 1, 1)),
    ).catch((reason: unknown) => reason);
    // It got as far as the connection.
    expect((error as { code?: string }).code).to.equal('ECONNREFUSED');
  });
});
