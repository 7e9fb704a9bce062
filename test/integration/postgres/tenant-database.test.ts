import { expect } from 'chai';
import { sql } from 'kysely';
import pino from 'pino';
import { PostgresCheck } from '../../../api/operations/postgres-check.js';
import { OwnDatabase } from '../../../api/own-database.js';
import { connectPostgres } from '../../../shared/postgres/connect.js';
import { appUrl, tenantKey } from '../../../shared/postgres/database-url.js';
import { migrationNames } from '../../../shared/postgres/migrations.js';
import {
  TenantDatabase,
  TenantRequired,
  type TenantTransaction,
  withTenant,
} from '../../../shared/postgres/tenant-context.js';
import { until } from '../../support/redis-server.js';
import { TenancyFixture } from '../../support/tenancy-fixture.js';
import { TurnCounter } from '../../support/turn-counter.js';

async function errorOf(work: () => Promise<unknown>): Promise<Error> {
  try {
    await work();
  } catch (error) {
    return error as Error;
  }
  throw new Error('it did not fail');
}

describe('a tenant’s transaction', () => {
  let fixture: TenancyFixture;
  beforeEach(async () => {
    fixture = await TenancyFixture.start(['acme', 'globex'], 1);
  });
  afterEach(() => fixture.close());

  const customers = (trx: TenantTransaction) =>
    trx.selectFrom('customers').select('tenant_id').distinct().execute();

  function asAcme<T>(work: (trx: TenantTransaction) => Promise<T>): Promise<T> {
    return withTenant('acme', () => fixture.database.transaction(work));
  }

  it('is refused outside of a tenant’s context, before a connection is taken', async () => {
    expect(await errorOf(() => fixture.database.transaction(customers))).to.be.instanceOf(TenantRequired);
    expect(fixture.app.totalCount).to.equal(0);
  });

  it('is over when its work is: kept, it answers nothing, also when its connection serves the next', async () => {
    let kept: TenantTransaction | undefined;
    await asAcme(async (trx) => {
      kept = trx;
    });
    expect((await errorOf(() => withTenant('acme', () => customers(kept!)))).message).to.match(/commit|over/);
    await withTenant('globex', () =>
      fixture.database.transaction(async (trx) => {
        await customers(trx);
        expect(await errorOf(() => customers(kept!))).to.be.instanceOf(Error);
      }),
    );
  });

  it('answers nothing to the work of another tenant, nor outside of a context', async () => {
    let give: (trx: TenantTransaction) => void = () => undefined;
    const given = new Promise<TenantTransaction>((resolve) => {
      give = resolve;
    });
    let end: () => void = () => undefined;
    const lasting = asAcme(async (trx) => {
      give(trx);
      await new Promise<void>((resolve) => {
        end = resolve;
      });
    });
    const trx = await given;
    expect((await errorOf(() => withTenant('globex', () => customers(trx)))).message).to.include(
      'another tenant',
    );
    expect(await errorOf(() => customers(trx))).to.be.instanceOf(TenantRequired);
    end();
    await lasting;
  });

  it('is not begun where the database has become that of another installation since', async () => {
    const ours = { namespace: 'ours', partitions: 4 };
    const become = (namespace: string) =>
      fixture.sink.query('INSERT INTO installation (namespace, partitions) VALUES ($1, 4)', [namespace]);
    const log = pino({ level: 'silent' });
    const newest = migrationNames().at(-1)!;
    const check = new PostgresCheck({ pool: fixture.app, log, newest, ...ours, deadlineMs: 1000 });
    const own = new OwnDatabase(fixture.database, check, 0);
    const begin = () => withTenant('acme', () => own.transaction(customers));
    expect(await begin()).to.deep.equal([{ tenant_id: 'acme' }]);
    await become('another');
    expect(await errorOf(begin)).to.include({ code: 'wrong_database' });
    expect(await errorOf(begin)).to.include({ code: 'wrong_database' });
  });

  it('reads one snapshot, however many queries it has', async () => {
    const counts = await asAcme(async (trx) => {
      const count = async () =>
        (
          await trx
            .selectFrom('customers')
            .select((eb) => eb.fn.countAll<number>().as('n'))
            .executeTakeFirstOrThrow()
        ).n;
      const before = await count();
      await fixture.sink.query(
        `INSERT INTO customers (tenant_id, external_id, name) VALUES ('acme', 'new', 'new')`,
      );
      return [before, await count()];
    });
    expect(counts).to.deep.equal([4, 4]);
    expect(await asAcme((trx) => trx.selectFrom('customers').select('id').execute())).to.have.length(5);
  });

  it('takes no round trip of its own: it begins with its first query, and its end is not waited for', async () => {
    const relay = await TurnCounter.start(fixture.ownerUrl);
    const url = new URL(fixture.ownerUrl);
    url.port = String(relay.port);
    const pool = connectPostgres({
      ...{
        url: appUrl(url.href),
        name: 'relayed',
        log: pino({ level: 'silent' }),
        poolMax: 1,
        pipeline: true,
      },
    });
    try {
      const database = new TenantDatabase(pool, tenantKey(url.href));
      const once = () => withTenant('acme', () => database.transaction(customers));
      await once();
      await until(5000, 'the first transaction is over', () => pool.idleCount === 1);
      const before = relay.turns;
      for (let n = 0; n < 5; n += 1) await once();
      await until(5000, 'the last transaction is over', () => pool.idleCount === 1);
      // The query, and COMMIT on its way while the caller goes on.
      expect(relay.turns - before).to.equal(5 * 2);
    } finally {
      await pool.end();
      await relay.close();
    }
  });

  it('gives its connection back after an error, and closes one whose query was wrong', async () => {
    const pid = async () =>
      (await asAcme((trx) => sql<{ pid: number }>`SELECT pg_backend_pid() AS pid`.execute(trx))).rows[0]!.pid;
    const first = await pid();
    await errorOf(() => asAcme(() => Promise.reject(new Error('the work fails'))));
    await errorOf(() => asAcme((trx) => sql`SELECT 1 / 0`.execute(trx)));
    expect(await pid()).to.equal(first);
    await errorOf(() => asAcme((trx) => sql`SELECT nothing`.execute(trx)));
    await until(5000, 'the connection is closed', () => fixture.app.totalCount === 0);
    expect(await pid()).not.to.equal(first);
  });

  it('leaves no tenant behind in the session', async () => {
    await asAcme(customers);
    await until(5000, 'the transaction is over', () => fixture.app.idleCount === 1);
    const error = await errorOf(() => fixture.app.query('SELECT * FROM customers'));
    expect(error).to.include({ code: '42501' });
  });

  it('only reads, though the session has been told otherwise', async () => {
    await asAcme((trx) => sql`SELECT set_config('default_transaction_read_only', 'off', false)`.execute(trx));
    expect(await errorOf(() => asAcme((trx) => sql`SELECT lo_create(0)`.execute(trx)))).to.include({
      code: '25006',
    });
  });

  it('takes one statement at a time, prepared under a name or not', async () => {
    for (let n = 0; n < 110; n += 1) {
      await asAcme((trx) => sql`SELECT ${sql.lit(n)} AS n`.execute(trx));
    }
    const { rows } = await fixture.app.query('SELECT count(*)::int AS n FROM pg_prepared_statements');
    expect(rows[0].n).to.be.within(90, 100);
    const stacked = asAcme((trx) => sql`SELECT 1; SELECT 2`.execute(trx));
    expect(await errorOf(() => stacked)).to.include({ code: '42601' });
  });

  it('goes on when a migration has changed what a prepared statement reads', async () => {
    const read = () => asAcme((trx) => sql`SELECT * FROM tenants`.execute(trx));
    await read();
    await fixture.owner.query('ALTER TABLE tenants ADD COLUMN note text');
    await errorOf(read);
    expect((await read()).rows).to.have.length(1);
  });

  it('closes a connection that Postgres ends while the work takes too long, and tells', async () => {
    await fixture.owner.query(
      `ALTER ROLE "${new URL(fixture.ownerUrl).pathname.slice(1)}_weir_app" SET idle_in_transaction_session_timeout = '50ms'`,
    );
    const error = await errorOf(() =>
      asAcme(async (trx) => {
        await customers(trx);
        await until(5000, 'the connection is gone', async () => {
          const { rows } = await fixture.owner.query(
            `SELECT count(*)::int AS n FROM pg_stat_activity WHERE application_name = 'weir-test-app'
             AND datname = current_database()`,
          );
          return rows[0].n === 0;
        });
        return customers(trx);
      }),
    );
    expect(error.message).to.match(/terminat|queryable/);
    expect(await asAcme(customers)).to.deep.equal([{ tenant_id: 'acme' }]);
  });
});
