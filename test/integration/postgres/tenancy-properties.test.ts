import { expect } from 'chai';
import fc from 'fast-check';
import type { CompiledQuery } from 'kysely';
import { type TenantTransaction, withTenant } from '../../../shared/postgres/tenant-context.js';
import { randomSql, TABLE_NAMES, textColumns } from '../../support/random-queries.js';
import { TenancyFixture } from '../../support/tenancy-fixture.js';

const TENANTS = ['acme', 'globex', 'initech', 'umbrella'];

describe('tenancy: random queries as one tenant', () => {
  let fixture: TenancyFixture;
  before(async () => {
    fixture = await TenancyFixture.start(TENANTS);
    // What a tenant would see of a database in which there is nobody else.
    for (const tenant of TENANTS) {
      await fixture.owner.query(`CREATE SCHEMA only_${tenant}`);
      for (const table of TABLE_NAMES) {
        const id = table === 'tenants' ? 'id' : 'tenant_id';
        await fixture.owner.query(
          `CREATE VIEW only_${tenant}.${table} AS SELECT * FROM public.${table} WHERE ${id} = '${tenant}'`,
        );
      }
    }
  });
  after(() => fixture.close());

  /** Rows of the same query as a superuser, without row level security, over the tenant's rows alone. */
  async function expected(
    tenant: string,
    sql: string,
    parameters: readonly unknown[] = [],
  ): Promise<unknown[]> {
    await fixture.owner.query(`SET search_path = only_${tenant}`);
    await fixture.owner.query(`SET TimeZone = 'UTC'`);
    return (await fixture.owner.query(sql, [...parameters])).rows;
  }

  it('never see more, less or other than if there were nobody else: raw SQL', async () => {
    const guesses = [...TENANTS, ...TENANTS.map((tenant) => `${tenant}-customer-1`)];
    let rowsSeen = 0;
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...TENANTS), randomSql(guesses), async (tenant, sql) => {
        const outcome = await fixture.asTenant(tenant, sql);
        expect(outcome, JSON.stringify(outcome)).to.have.property('rows');
        const { rows } = outcome as { rows: unknown[] };
        expect(rows).to.deep.equal(await expected(tenant, sql));
        rowsSeen += rows.length;
      }),
      { numRuns: 600 },
    );
    // The queries do find something.
    expect(rowsSeen).to.be.greaterThan(1000);
  }).timeout(60_000);

  it('never see more, less or other than if there were nobody else: Kysely', async () => {
    const column = fc
      .constantFrom(...TABLE_NAMES)
      .chain((table) => fc.tuple(fc.constant(table), fc.constantFrom(...textColumns(table))));
    const filter = fc.tuple(
      fc.constantFrom('=' as const, '!=' as const, '<' as const, 'like' as const),
      fc.constantFrom(...TENANTS, '%e%'),
    );
    let rowsSeen = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...TENANTS),
        column,
        fc.array(filter, { maxLength: 3 }),
        fc.boolean(),
        async (tenant, [table, name], filters, grouped) => {
          let query: CompiledQuery | undefined;
          const work = (trx: TenantTransaction) => {
            let select = trx
              .selectFrom(table)
              .select((eb) => eb.ref(name as never).as('value'))
              .where((eb) =>
                eb.or([
                  eb.lit(true),
                  ...filters.map(([operator, value]) => eb(name as never, operator, value as never)),
                ]),
              );
            if (grouped)
              select = select.groupBy(name as never).select((eb) => eb.fn.countAll().as('count')) as never;
            select = select.orderBy('value' as never);
            query = select.compile();
            return select.execute();
          };
          const rows = await withTenant(tenant, () => fixture.database.transaction(work));
          const wanted = await expected(tenant, query!.sql, query!.parameters);
          expect(JSON.parse(JSON.stringify(rows))).to.deep.equal(
            grouped
              ? wanted.map((row) => ({ ...(row as object), count: Number((row as { count: string }).count) }))
              : wanted,
          );
          rowsSeen += rows.length;
        },
      ),
      { numRuns: 300 },
    );
    expect(rowsSeen).to.be.greaterThan(300);
  }).timeout(60_000);

  it('never mix while many tenants share few connections and some of them fail', async () => {
    const step = fc.record({
      tenant: fc.constantFrom(...TENANTS),
      sql: fc.constantFrom(
        'SELECT external_id AS value FROM customers',
        'SELECT event_id AS value FROM usage_events',
        'SELECT id AS value FROM tenants',
        'SELECT subject AS value FROM restriction_changes, pg_sleep(0.002)',
        'SELECT 1 / 0 AS value FROM customers',
        'SELECT nothing AS value FROM customers',
        `SELECT set_config('weir.tenant', 'acme', false) AS value`,
        `SELECT set_config('weir.tenant_proof', 'x', false) AS value`,
        'COMMIT',
      ),
      throws: fc.boolean(),
    });
    const seen = new Map(TENANTS.map((tenant) => [tenant, 0]));
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 40 }), async (steps) => {
        await Promise.all(
          steps.map(async ({ tenant, sql, throws }) => {
            const first = await fixture.asTenant(tenant, sql);
            const own = await withTenant(tenant, () =>
              fixture.database.transaction(async (trx) => {
                const rows = await trx.selectFrom('customers').select('external_id as value').execute();
                await new Promise((resolve) => setImmediate(resolve));
                const again = await trx.selectFrom('usage_events').select('event_id as value').execute();
                if (throws) throw Object.assign(new Error('given up'), { rows });
                return [...rows, ...again];
              }),
            ).catch((error: { rows?: { value: string }[] }) => error.rows ?? Promise.reject(error));
            const said = 'rows' in first ? first.rows : [{ value: first.message }];
            const values = [...own, ...said].map(({ value }) => String(value));
            const others = TENANTS.filter((other) => other !== tenant);
            for (const value of values.filter((text) => text !== 'acme' || !sql.includes('acme'))) {
              expect(others.filter((other) => value.includes(other))).to.deep.equal([]);
            }
            seen.set(tenant, seen.get(tenant)! + own.length);
          }),
        );
      }),
      { numRuns: 25 },
    );
    for (const tenant of TENANTS) expect(seen.get(tenant)).to.be.greaterThan(100);
  }).timeout(60_000);
});
