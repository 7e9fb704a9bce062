import { readFileSync } from 'node:fs';
import { expect } from 'chai';
import { testPostgres } from '../../support/hooks.js';
import { TenancyFixture } from '../../support/tenancy-fixture.js';
import { schemaOfEmpty, schemaPath } from '../../support/write-schema.js';

describe('the schema', () => {
  let fixture: TenancyFixture;
  before(async () => {
    fixture = await TenancyFixture.start([]);
  });
  after(() => fixture.close());

  async function names(sql: string): Promise<string[]> {
    const { rows } = await fixture.owner.query<{ name: string }>(sql);
    return rows.map(({ name }) => name);
  }

  it('is the one in shared/postgres/schema.txt (npm run docs:schema writes it)', async () => {
    expect(await schemaOfEmpty(await testPostgres())).to.equal(readFileSync(schemaPath, 'utf8'));
  });

  it('names for every index the query that it serves', async () => {
    const unexplained = `SELECT c.oid::regclass::text AS name FROM pg_class c
      WHERE relkind IN ('i', 'I') AND relnamespace IN ('public'::regnamespace, 'weir_private'::regnamespace)
        AND obj_description(c.oid) IS NULL`;
    expect(await names(unexplained)).to.deep.equal([]);
  });

  it('binds every table that has a tenant to row level security, owner included', async () => {
    const tables = await names(
      `SELECT c.relname AS name FROM pg_class c WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace
         AND (relname = 'tenants' OR EXISTS (SELECT FROM pg_attribute WHERE attrelid = c.oid AND attname = 'tenant_id'))
         AND NOT (relrowsecurity AND relforcerowsecurity)`,
    );
    expect(tables).to.deep.equal([]);
    const withoutPolicy = await names(
      `SELECT c.relname AS name FROM pg_class c WHERE relrowsecurity AND NOT relispartition AND NOT EXISTS (
         SELECT FROM pg_policy WHERE polrelid = c.oid AND polcmd = 'r' AND polroles = ARRAY['weir_app'::regrole::oid]
           AND pg_get_expr(polqual, polrelid) LIKE '%weir_current_tenant()%')`,
    );
    expect(withoutPolicy).to.deep.equal([]);
  });

  it('gives PUBLIC nothing, and runs nothing of the owner’s on a path that others choose', async () => {
    const open = await names(
      `SELECT 'function ' || p.oid::regprocedure AS name FROM pg_proc p, aclexplode(coalesce(proacl, acldefault('f', proowner)))
         WHERE pronamespace IN ('public'::regnamespace, 'weir_private'::regnamespace) AND grantee = 0
       UNION ALL SELECT 'table ' || c.oid::regclass FROM pg_class c, aclexplode(relacl)
         WHERE relnamespace IN ('public'::regnamespace, 'weir_private'::regnamespace) AND grantee = 0
       UNION ALL SELECT 'schema ' || nspname FROM pg_namespace n, aclexplode(nspacl)
         WHERE nspname IN ('public', 'weir_private') AND grantee = 0
       UNION ALL SELECT 'database ' || datname FROM pg_database d, aclexplode(coalesce(datacl, acldefault('d', datdba)))
         WHERE datname = current_database() AND grantee = 0`,
    );
    expect(open).to.deep.equal([]);
    const unpinned = await names(
      `SELECT oid::regprocedure::text AS name FROM pg_proc
       WHERE pronamespace = 'public'::regnamespace
         AND NOT coalesce(proconfig @> ARRAY['search_path=pg_catalog, pg_temp'], false)`,
    );
    expect(unpinned).to.deep.equal([]);
  });

  it('keeps updated_at, whoever writes', async () => {
    await fixture.sink.query(`INSERT INTO tenants (id, name) VALUES ('acme', 'Acme')`);
    await fixture.sink.query(
      `UPDATE tenants SET updated_at = '2000-01-01', name = 'Acme & Sons' WHERE id = 'acme'`,
    );
    const { rows } = await fixture.sink.query(
      `SELECT updated_at > created_at AS later, name FROM tenants WHERE id = 'acme'`,
    );
    expect(rows).to.deep.equal([{ later: true, name: 'Acme & Sons' }]);
    const untouched = await names(
      `SELECT c.relname AS name FROM pg_class c JOIN pg_attribute ON attrelid = c.oid AND attname = 'updated_at'
       WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace
         AND NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = c.oid AND tgfoid = 'weir_touch'::regproc)`,
    );
    expect(untouched).to.deep.equal([]);
  });

  it('lets no window be of a customer of another tenant', async () => {
    await fixture.sink.query(`INSERT INTO tenants (id, name) VALUES ('a', 'A'), ('b', 'B')`);
    await fixture.sink.query(`INSERT INTO customers (tenant_id, external_id, name) VALUES ('a', 'c', 'C')`);
    const insert = fixture.sink.query(
      `INSERT INTO aggregation_windows (tenant_id, customer_id, window_start, window_end, status, revision, partition,
         total_calls, total_tokens, total_input_tokens, total_output_tokens, latency_count, latency_sum_us, late_events,
         aggregation_data, as_of_at, as_of_seq, as_of_index)
       SELECT 'b', id, now(), now() + interval '30 s', 'closed', 1, 0, 0, 0, 0, 0, 0, 0, 0, '{}', now(), 0, 0
       FROM customers WHERE external_id = 'c'`,
    );
    expect(await insert.catch((error: { code: string }) => error.code)).to.equal('23503');
  });
});
