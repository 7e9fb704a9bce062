import { cpSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import pg from 'pg';
import pino from 'pino';
import { appUrl } from '../../../shared/postgres/database-url.js';
import { migrate } from '../../../shared/postgres/migrate.js';
import { migrationNames, migrationsFolder } from '../../../shared/postgres/migrations.js';
import { testPostgres } from '../../support/hooks.js';
import { PostgresServer } from '../../support/postgres-server.js';
import { patient, until } from '../../support/redis-server.js';
import { ApiUnderTest } from '../api/api-under-test.js';

const silent = pino({ level: 'silent' });
const WAIT = { waitMs: 10_000 };

/** Processes of a server, from the kernel. */
function childrenOf(parent: number): number[] {
  return readFileSync(`/proc/${parent}/task/${parent}/children`, 'utf8').trim().split(' ').map(Number);
}

describe('/ready and Postgres', () => {
  let api: ApiUnderTest;
  let server: PostgresServer | undefined;
  afterEach(async () => {
    await api.close();
    await server?.stop();
    server = undefined;
  });

  async function start(url: string): Promise<void> {
    api = await (await ApiUnderTest.start({ DATABASE_URL: url })).connected();
    // As if there were a worker that owned everything.
    const [seconds] = await api.redis.time();
    await api.redis.zadd(api.keys.workers, Number(seconds) * 1000 + 600_000, 'w1');
    for (const slot of api.slots.all) await api.redis.set(slot.keys.lease, 'w1:1:x');
  }

  async function ready(): Promise<[status: number, postgres: string]> {
    const { status, body } = await api.get('/ready');
    return [status, (body['checks'] as { postgres: string }).postgres];
  }

  async function query(url: string, text: string): Promise<void> {
    const client = new pg.Client({ connectionString: url });
    await client.connect();
    await client.query(text).finally(() => client.end());
  }

  it('is not before a worker has migrated the database, and is at once when it has', async () => {
    const url = await (await testPostgres()).createDatabase();
    await start(url);
    expect(await ready()).to.deep.equal([503, 'migrating']);
    await migrate(url, silent, WAIT);
    expect(await ready()).to.deep.equal([200, 'ok']);
  });

  it('is not while the schema is older than this version knows, and is with a newer one', async () => {
    const url = await (await testPostgres()).createDatabase();
    const folder = mkdtempSync(join(tmpdir(), 'weir-migrations-'));
    try {
      cpSync(migrationsFolder, folder, { recursive: true });
      rmSync(join(folder, `${migrationNames().at(-1)}.sql`));
      await migrate(url, silent, { ...WAIT, folder });
    } finally {
      rmSync(folder, { recursive: true });
    }
    await start(url);
    expect(await ready()).to.deep.equal([503, 'migrating']);
    await migrate(url, silent, WAIT);
    await query(url, `INSERT INTO weir_private.migrations (name, run_on) VALUES ('9999_next', now())`);
    expect(await ready()).to.deep.equal([200, 'ok']);
  });

  it('is not when the application role is not bound by row level security', async () => {
    const url = await (await testPostgres()).createDatabase();
    await migrate(url, silent, WAIT);
    await start(url);
    expect(await ready()).to.deep.equal([200, 'ok']);
    const role = decodeURIComponent(new URL(appUrl(url)).username);
    await query(url, `ALTER ROLE ${role} BYPASSRLS`);
    expect(await ready()).to.deep.equal([503, 'down']);
  });

  it('is not while Postgres is away or hangs, says so within a second or so, and is again', async () => {
    server = await PostgresServer.start();
    const url = await server.createDatabase();
    await migrate(url, silent, WAIT);
    await start(url);
    expect(await ready()).to.deep.equal([200, 'ok']);
    process.kill(server.pid, 'SIGSTOP');
    let hanging = 0;
    try {
      // Each session is a process of its own.
      const stopped = childrenOf(server.pid);
      for (const pid of stopped) process.kill(pid, 'SIGSTOP');
      const began = performance.now();
      expect(await ready()).to.deep.equal([503, 'down']);
      expect(await Promise.all([ready(), ready(), ready()])).to.deep.equal(Array(3).fill([503, 'down']));
      hanging = performance.now() - began;
      for (const pid of stopped) process.kill(pid, 'SIGCONT');
    } finally {
      process.kill(server.pid, 'SIGCONT');
    }
    expect(hanging).to.be.lessThan(patient(4000));
    await until(10_000, 'it is ready again', async () => (await ready())[0] === 200);
    await server.kill();
    expect(await ready()).to.deep.equal([503, 'down']);
    // Decisions do not ask Postgres.
    expect((await api.get('/canmessage?user_id=u')).status).to.equal(200);
    await server.restart();
    await until(10_000, 'it is ready again', async () => (await ready())[0] === 200);
  }).timeout(60_000);
});
