import { expect } from 'chai';
import { withTenant } from '../../shared/postgres/tenant-context.js';
import { until } from '../support/redis-server.js';
import { type Outcome, TenancyFixture } from '../support/tenancy-fixture.js';

const DENIED = '42501';
const READ_ONLY = '25006';

/** Rows of tables; `globex` has as many, and everything of it has its name in it. */
const OWN = {
  tenants: 1,
  customers: 4,
  usage_events: 24,
  aggregation_windows: 12,
  restriction_changes: 3,
  budget_ledger: 6,
  budget_windows: 3,
  budget_versions: 3,
} as const;
const TABLES = Object.keys(OWN) as readonly (keyof typeof OWN)[];

function text(outcome: Outcome): string {
  return JSON.stringify(outcome);
}

describe('tenancy: raw SQL in the application role', () => {
  let fixture: TenancyFixture;
  before(async () => {
    fixture = await TenancyFixture.start(['acme', 'globex']);
  });
  after(() => fixture.close());

  /** As acme, with every freedom of the role: nothing of globex comes out. */
  async function attack(sql: string): Promise<Outcome> {
    const outcome = await fixture.inAppRole('acme', sql);
    expect(text(outcome)).not.to.include('globex');
    return outcome;
  }

  async function refused(sql: string, ...states: readonly string[]): Promise<void> {
    const outcome = await attack(sql);
    expect(outcome, sql).to.have.property('state');
    expect(states, text(outcome)).to.include((outcome as { state: string }).state);
  }

  for (const table of TABLES) {
    it(`sees its own rows of ${table}, all of them, and no others`, async () => {
      for (const outcome of [
        await fixture.asTenant('acme', `SELECT * FROM ${table}`),
        await attack(`TABLE ${table}`),
      ]) {
        expect(text(outcome)).to.include('acme').and.not.to.include('globex');
        expect((outcome as { rows: unknown[] }).rows).to.have.length(OWN[table]);
      }
    });

    it(`raises for ${table} without a tenant`, async () => {
      const outcome = await fixture.inAppRole(undefined, `SELECT count(*) FROM ${table}`);
      expect(outcome).to.include({ state: DENIED });
      expect(text(outcome)).to.include('no tenant');
    });

    it(`does not see others’ rows of ${table} by asking for them, by joins or by sets`, async () => {
      const id = table === 'tenants' ? 'id' : 'tenant_id';
      for (const sql of [
        `SELECT count(*)::int AS n FROM ${table} WHERE ${id} = 'glo' || 'bex'`,
        `SELECT count(*)::int AS n FROM ${table} WHERE ${id} <> 'acme' OR true AND ${id} <> 'acme'`,
        `SELECT count(*)::int AS n FROM (SELECT ${id} FROM ${table} EXCEPT SELECT 'acme') AS others`,
        `WITH t AS MATERIALIZED (SELECT * FROM ${table}) SELECT count(*)::int AS n FROM t WHERE ${id} <> 'acme'`,
        `SELECT count(*)::int AS n FROM customers c JOIN ${table} t ON t.${id} <> c.tenant_id`,
      ]) {
        expect(await attack(sql), sql).to.deep.equal({ rows: [{ n: 0 }] });
      }
    });
  }

  it('cannot become another tenant: the proof is of one tenant, and cannot be made without the key', async () => {
    const globex = `'glob' || 'ex'`;
    for (const set of [
      `SET weir.tenant = 'globex'`,
      `SELECT set_config('weir.tenant', ${globex}, true)`,
      `SELECT set_config('weir.tenant', ${globex}, false), set_config('weir.tenant_proof', '', false)`,
      `SELECT set_config('weir.tenant', ${globex}, false), set_config('weir.tenant_proof', NULL, false)`,
      `SELECT set_config('weir.tenant', ${globex}, false), set_config('weir.tenant_proof',
         encode(sha256(convert_to(':' || ${globex} || ':', 'UTF8')), 'hex'), false)`,
      `SELECT set_config('weir.tenant_proof', 'x', false)`,
      `SELECT set_config('weir.tenant', 'acme:' || ${globex}, false)`,
      `SET weir.tenant = ''`,
      'RESET weir.tenant',
      'RESET weir.tenant_proof',
      'RESET ALL',
    ]) {
      await refused(`${set}; SELECT * FROM customers`, DENIED);
    }
    await refused('SELECT * FROM weir_private.tenant_key', DENIED);
    await refused(
      `SELECT pg_get_functiondef('weir_current_tenant()'::regprocedure) FROM weir_private.tenant_key`,
      DENIED,
    );
  });

  it('cannot become another role', async () => {
    const owner = new URL(fixture.ownerUrl).username;
    const sink = `"${new URL(fixture.ownerUrl).pathname.slice(1)}_weir_sink"`;
    for (const role of [owner, 'weir_sink', sink, 'pg_read_all_data', 'pg_monitor', 'pg_read_server_files']) {
      await refused(`SET ROLE ${role}`, DENIED);
      await refused(`SET SESSION AUTHORIZATION ${role}`, DENIED);
      await refused(`GRANT ${role} TO current_user`, DENIED, '0LP01', '0A000');
    }
    // Its own group is no more than itself.
    expect(await attack(`SET ROLE weir_app; SELECT count(*)::int AS n FROM customers`)).to.deep.equal({
      rows: [{ n: 4 }],
    });
    await refused('ALTER ROLE current_user BYPASSRLS', DENIED);
  });

  it('cannot switch row level security off, neither in the session nor in the table', async () => {
    await refused('SET row_security = off; SELECT * FROM customers', DENIED);
    await refused('ALTER TABLE customers DISABLE ROW LEVEL SECURITY', DENIED);
    await refused('ALTER TABLE customers NO FORCE ROW LEVEL SECURITY', DENIED);
    await refused('DROP POLICY own_tenant ON customers', DENIED);
    await refused('CREATE POLICY mine ON customers USING (true)', DENIED);
  });

  it('cannot read the table of a day, nor what belongs to no tenant', async () => {
    const { rows } = await fixture.owner.query<{ name: string }>(
      `SELECT inhrelid::regclass::text AS name FROM pg_inherits
       WHERE inhparent IN ('usage_events'::regclass, 'budget_ledger'::regclass)`,
    );
    expect(rows).to.have.length(6);
    for (const { name } of rows) await refused(`SELECT * FROM ${name}`, DENIED);
    for (const table of ['sink_positions', 'weir_private.migrations', 'pg_authid', 'pg_statistic']) {
      await refused(`SELECT * FROM ${table}`, DENIED);
    }
    await refused('SELECT last_value FROM customers_id_seq', DENIED);
  });

  it('cannot read statistics of columns, though there are some', async () => {
    const statistics = `SELECT tablename, most_common_vals::text, histogram_bounds::text FROM pg_stats
      WHERE schemaname IN ('public', 'weir_private')`;
    expect(text({ rows: (await fixture.owner.query(statistics)).rows })).to.include('globex');
    expect(await attack(statistics)).to.deep.equal({ rows: [] });
    expect(await attack('SELECT * FROM pg_stats_ext')).to.deep.equal({ rows: [] });
    expect(await attack(`SELECT * FROM pg_stats_ext_exprs`)).to.deep.equal({ rows: [] });
  });

  it('copies its own rows out, never others’, and neither to files nor programs', async () => {
    for (const table of TABLES) {
      const copied = await attack(`COPY (SELECT * FROM ${table}) TO STDOUT`);
      expect((copied as { rows: unknown[] }).rows).to.have.length(OWN[table]);
      expect(text(copied)).to.include('acme');
      await refused(`COPY ${table} TO '/tmp/weir-copy'`, DENIED, '42809');
      await refused(`COPY (SELECT * FROM ${table}) TO PROGRAM 'cat'`, DENIED);
      await refused(`COPY ${table} FROM PROGRAM 'cat'`, DENIED, '0A000');
    }
    for (const call of [
      `pg_read_file('PG_VERSION')`,
      `pg_ls_dir('.')`,
      `lo_import('/etc/hostname')`,
      'pg_current_logfile()',
      `pg_stat_file('PG_VERSION')`,
    ]) {
      await refused(`SELECT ${call}`, DENIED);
    }
  });

  it('reads through functions that run queries as it reads itself', async () => {
    for (const call of [
      `query_to_xml('SELECT * FROM customers', true, true, '')`,
      `table_to_xml('customers', true, true, '')`,
      `schema_to_xml('public', true, true, '')`,
      `database_to_xml(true, true, '')`,
      `cursor_to_xml('c', 100, true, true, '')`,
    ]) {
      const read = await attack(`BEGIN; DECLARE c CURSOR FOR SELECT * FROM usage_events; SELECT ${call}`);
      // Those that read everything meet what may not be read at all.
      if ('state' in read) expect(read.state).to.equal(DENIED);
      else expect(text(read)).to.include('acme');
    }
    for (const call of [
      `ensure_usage_partition('2030-01-01')`,
      `drop_usage_partitions('2999-01-01')`,
      `ensure_ledger_partition('2030-01-01')`,
      `drop_ledger_partitions('2999-01-01')`,
      `weir_private.ensure_day('budget_ledger', '2030-01-01')`,
    ]) {
      await refused(`SELECT ${call}`, DENIED);
    }
  });

  it('learns nothing from errors: no condition of its own is tried on a row of others', async () => {
    for (const condition of [
      'event_id::int > 0',
      '(metadata ->> $$secret$$)::int > 0',
      `1 / (CASE WHEN tenant_id = 'acme' THEN 1 ELSE 0 END) = 1`,
      `tenant_id = 'acme' OR event_id::int > 0`,
    ]) {
      const outcome = await attack(`SELECT count(*) FROM usage_events WHERE ${condition}`);
      // What it meets is its own.
      if ('state' in outcome) expect(outcome.message).to.match(/acme/);
    }
    expect(
      await attack(
        `SELECT count(*)::int AS n FROM usage_events WHERE 1 / (CASE tenant_id WHEN 'acme' THEN 1 ELSE 0 END) = 1`,
      ),
    ).to.deep.equal({ rows: [{ n: OWN.usage_events }] });
  });

  it('writes nothing, though its transaction be read-write, and gets no constraint to see', async () => {
    for (const sql of [
      `INSERT INTO tenants (id, name) VALUES ('glob' || 'ex', 'x')`,
      `INSERT INTO customers (tenant_id, external_id, name) VALUES ('glob' || 'ex', 'glob' || 'ex-customer-1', 'x')`,
      `UPDATE customers SET name = 'x'`,
      `DELETE FROM usage_events`,
      'TRUNCATE customers CASCADE',
      'SELECT * FROM customers FOR UPDATE',
      'SELECT * FROM customers FOR KEY SHARE',
      'BEGIN; LOCK TABLE customers IN ACCESS EXCLUSIVE MODE',
      `MERGE INTO customers c USING tenants t ON c.tenant_id = t.id WHEN MATCHED THEN DELETE`,
    ]) {
      await refused(sql, DENIED);
    }
  });

  it('makes nothing that would outlive its transaction: no table, temporary or not, no function, no view', async () => {
    for (const sql of [
      'CREATE TABLE t (x int)',
      'CREATE TEMP TABLE customers (x int)',
      'CREATE TEMP VIEW customers AS SELECT 1',
      'CREATE TABLE pg_temp.t AS SELECT * FROM customers',
      `CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'`,
      `CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql AS 'SELECT 1'`,
      'CREATE SCHEMA s',
      'CREATE VIEW v AS SELECT * FROM customers',
      'CREATE SEQUENCE s',
      'CREATE EXTENSION dblink',
      'CREATE ROLE r',
      'SELECT * INTO TEMP stolen FROM customers',
    ]) {
      await refused(sql, DENIED);
    }
  });

  it('sees sessions of the role, but the proof is in no text', async () => {
    const sessions = 'SELECT query FROM pg_stat_activity WHERE datname = current_database()';
    // Without a query of its own the session shows what the driver sent last.
    await withTenant('globex', () =>
      fixture.database.transaction(async () => {
        await until(5000, 'the context of the other session shows', async () =>
          text(await fixture.inAppRole('acme', sessions)).includes(`set_config('weir.tenant', $1`),
        );
        expect(text(await fixture.inAppRole('acme', sessions))).not.to.include(fixture.proof('globex'));
      }),
    );
  });

  it('has through the driver one statement at a time, in a transaction that only reads', async () => {
    const stacked = await fixture.asTenant('acme', `SELECT 1; SET weir.tenant = 'globex'`);
    expect(stacked).to.include({ state: '42601' });
    for (const sql of [`INSERT INTO tenants (id, name) VALUES ('x', 'x')`, `SELECT lo_create(0)`]) {
      const outcome = await fixture.asTenant('acme', sql);
      expect(outcome).to.have.property('state').that.is.oneOf([DENIED, READ_ONLY]);
    }
    expect(await fixture.asTenant('acme', 'SET TRANSACTION READ WRITE')).to.include({ state: '25001' });
  });

  it('leaves nothing behind for who gets the connection next', async () => {
    const left = await TenancyFixture.start(['acme', 'globex'], 1);
    try {
      for (const sql of [
        `SELECT set_config('weir.tenant', 'acme', false), set_config('weir.tenant_proof', '${left.proof('acme')}', false)`,
        `SELECT set_config('search_path', 'pg_temp', false)`,
        `SET SESSION row_security = off`,
        'PREPARE theirs AS SELECT * FROM customers',
        'DECLARE theirs CURSOR FOR SELECT * FROM customers',
        'SELECT 1 / 0',
        'COMMIT',
        'ROLLBACK',
      ]) {
        await left.asTenant('acme', sql);
        const next = await left.asTenant('globex', 'SELECT tenant_id FROM public.customers');
        if ('rows' in next) {
          expect(next.rows, sql).to.deep.equal(Array.from({ length: 4 }, () => ({ tenant_id: 'globex' })));
        } else {
          // It may be hindered, it is never helped.
          expect(next.state, `${sql}: ${next.message}`).to.equal(DENIED);
        }
        // The prepared statement of one runs as the other.
        const prepared = await left.asTenant('globex', 'EXECUTE theirs');
        expect(text(prepared)).not.to.include('acme');
      }
    } finally {
      await left.close();
    }
  });
});
