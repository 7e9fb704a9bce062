import { expect } from 'chai';
import pg from 'pg';
import pino from 'pino';
import { Lifecycle } from '../../../shared/lifecycle.js';
import { connectPostgres } from '../../../shared/postgres/connect.js';
import { isPostgresTransient } from '../../../shared/postgres/errors.js';
import { testPostgres } from '../../support/hooks.js';
import { PostgresServer } from '../../support/postgres-server.js';
import { until } from '../../support/redis-server.js';

const silent = pino({ level: 'silent' });

async function errorOf(work: Promise<unknown>): Promise<Error> {
  try {
    await work;
  } catch (error) {
    return error as Error;
  }
  throw new Error('it did not fail');
}

describe('connections to Postgres', () => {
  const pools: pg.Pool[] = [];
  let server: PostgresServer | undefined;
  afterEach(async () => {
    await Promise.all(pools.splice(0).map((pool) => pool.end()));
    await server?.stop();
    server = undefined;
  });

  function connect(url: string, options: object = {}): pg.Pool {
    const pool = connectPostgres({ url, name: 'test', log: silent, poolMax: 2, ...options });
    pools.push(pool);
    return pool;
  }

  it('are no more than the pool may have, and who waits longer than it may is told', async () => {
    const pool = connect((await testPostgres()).url, { connectTimeoutMs: 300 });
    const taken = await Promise.all([pool.connect(), pool.connect()]);
    const error = await errorOf(pool.query('SELECT 1'));
    expect(isPostgresTransient(error), error.message).to.equal(true);
    expect(pool.totalCount).to.equal(2);
    for (const client of taken) client.release();
    expect((await pool.query('SELECT 1 AS one')).rows).to.deep.equal([{ one: 1 }]);
  });

  it('give bigints as numbers, exact or not at all', async () => {
    const pool = connect((await testPostgres()).url);
    const { rows } = await pool.query(
      `SELECT 9007199254740991 AS big, -1::bigint AS small, NULL::bigint AS none`,
    );
    expect(rows).to.deep.equal([{ big: Number.MAX_SAFE_INTEGER, small: -1, none: null }]);
    expect(await errorOf(pool.query('SELECT 9007199254740992 AS big'))).to.be.instanceOf(RangeError);
  });

  it('survive a Postgres that is killed, at rest and at work, and come back with it', async () => {
    server = await PostgresServer.start();
    const pool = connect(server.url, { pipeline: true });
    const idle = await pool.connect();
    idle.release();
    const busy = pool.query('SELECT pg_sleep(60)');
    const failed = errorOf(busy);
    await until(5000, 'the query is under way', async () => {
      const { rows } = await pool.query(
        `SELECT count(*)::int AS n FROM pg_stat_activity WHERE wait_event = 'PgSleep'`,
      );
      return rows[0].n === 1;
    });
    const held = await pool.connect();
    await server.kill();
    expect(isPostgresTransient(await failed)).to.equal(true);
    expect(isPostgresTransient(await errorOf(held.query('SELECT 1')))).to.equal(true);
    held.release(true);
    expect(isPostgresTransient(await errorOf(pool.query('SELECT 1')))).to.equal(true);
    await server.restart();
    await until(5000, 'queries work again', async () => (await pool.query('SELECT 1')).rowCount === 1);
  }).timeout(60_000);

  it('give up a query of a server that hangs, and its connection with it', async () => {
    server = await PostgresServer.start();
    for (const pipeline of [true, false]) {
      const pool = connect(server.url, { queryTimeoutMs: 200, pipeline });
      const {
        rows: [{ pid }],
      } = await pool.query('SELECT pg_backend_pid() AS pid');
      process.kill(pid, 'SIGSTOP');
      try {
        const error = await errorOf(pool.query('SELECT 1'));
        expect(isPostgresTransient(error), error.message).to.equal(true);
      } finally {
        process.kill(pid, 'SIGCONT');
      }
      const after = await pool.query('SELECT pg_backend_pid() AS pid');
      expect(after.rows[0].pid).not.to.equal(pid);
    }
  }).timeout(60_000);

  it('are released with the process, though a query is under way', async () => {
    const lifecycle = new Lifecycle(silent);
    const { url } = await testPostgres();
    const pool = connectPostgres({ url, name: 'closing', log: silent, poolMax: 1, lifecycle });
    const query = pool.query('SELECT pg_sleep(0.2)');
    await lifecycle.close();
    await query;
    const client = new pg.Client({ connectionString: url });
    await client.connect();
    await until(5000, 'the server sees no connection of ours', async () => {
      const { rows } = await client.query(
        `SELECT count(*)::int AS n FROM pg_stat_activity WHERE application_name = 'weir-closing'`,
      );
      return rows[0].n === 0;
    });
    await client.end();
  });
});
