import { setTimeout as sleep } from 'node:timers/promises';
import type pg from 'pg';
import type { Lifecycle } from '../shared/lifecycle.js';
import type { DistributedLock } from '../shared/lock/distributed-lock.js';
import type { Logger } from '../shared/logging.js';
import { connectPostgres } from '../shared/postgres/connect.js';
import { sinkUrl } from '../shared/postgres/database-url.js';
import { isPostgresTransient } from '../shared/postgres/errors.js';
import { migrate } from '../shared/postgres/migrate.js';
import { migrationNames } from '../shared/postgres/migrations.js';
import { assertOurs } from '../shared/postgres/other-owner.js';

/** How long a sink waits for the schema before it says that it failed: a worker starts faster than it migrates. */
const READY_MS = 3000;
/** One of the fleet migrates at a time; Postgres has a lock of its own, this one spares it the crowd. */
const LOCK = { ttlMs: 10_000, waitMs: 60_000, retryMs: 250 };
const MIGRATE_WAIT_MS = 60_000;
const RETRY_MS_MIN = 250;
const RETRY_MS_MAX = 5000;
/** All drains of a worker share the pool: waiting for a turn is no failure. */
const CONNECT_TIMEOUT_MS = 10_000;
/** A server that answers a write later than this is taken for gone. */
const QUERY_TIMEOUT_MS = 60_000;

export interface Database {
  /** Connections of the role that writes for all tenants. */
  readonly pool: pg.Pool;
  /** Resolves when the schema is the present one; pending for as long as Postgres is away. */
  readonly ready: Promise<void>;
}

export interface DatabaseOptions {
  /** Of the owner. */
  readonly url: string;
  readonly poolMax: number;
  /** WEIR_NAMESPACE. */
  readonly namespace: string;
  /** PARTITIONS. */
  readonly partitions: number;
  readonly lock: DistributedLock;
  readonly log: Logger;
  readonly lifecycle: Lifecycle;
}

/** The lock under which one worker migrates. */
const MIGRATIONS = 'migrations';

/**
 * Opens Postgres for a worker, and brings its schema up to date in the background, trying for as long as it takes:
 * a worker decides without Postgres too.
 * @throws DatabaseUrlError
 */
export function openDatabase(options: DatabaseOptions): Database {
  const { url, poolMax, namespace, partitions, lock, log, lifecycle } = options;
  const pool = connectPostgres({
    url: sinkUrl(url),
    name: 'worker',
    poolMax,
    connectTimeoutMs: CONNECT_TIMEOUT_MS,
    queryTimeoutMs: QUERY_TIMEOUT_MS,
    log,
    lifecycle,
  });
  lock.expect(MIGRATIONS);
  const closed = new AbortController();
  lifecycle.onClose('migrations', () => closed.abort());
  const { signal } = closed;
  const ready = new Promise<void>((resolve) => {
    void (async () => {
      let retryMs = RETRY_MS_MIN;
      for (let last = ''; !signal.aborted; retryMs = Math.min(retryMs * 2, RETRY_MS_MAX)) {
        try {
          if (!(await isPresent(pool))) {
            await lock.run(MIGRATIONS, { ...LOCK, signal }, () =>
              migrate(url, log, { waitMs: MIGRATE_WAIT_MS, ours: { namespace, partitions } }),
            );
          }
          await claim(pool, namespace, partitions);
          resolve();
          return;
        } catch (error) {
          if (signal.aborted) return;
          const message = (error as Error).message;
          // The same trouble once, not every few seconds.
          if (message !== last) {
            const level = isPostgresTransient(error) ? 'warn' : 'error';
            log[level]({ err: error }, 'postgres is not ready: usage waits in Redis');
          }
          last = message;
          await sleep(retryMs, undefined, { signal }).catch(() => undefined);
        }
      }
    })();
  });
  return { pool, ready };
}

/**
 * Whether there is nothing to migrate: what every start but the first of a version finds. Without asking, a worker
 * would wait for the lock of one that was killed while it held it, and usage in Redis with it. The login itself shows
 * that roles and passwords are as they should be.
 */
async function isPresent(pool: pg.Pool): Promise<boolean> {
  try {
    const { rows } = await pool.query<{ version: string | null }>('SELECT weir_schema_version() AS version');
    return rows[0]?.version === migrationNames().at(-1);
  } catch {
    // Away, empty, or with other passwords: migrating says which.
    return false;
  }
}

/**
 * A database belongs to one installation: the rows of another would be taken for its own.
 * @throws AnotherInstallation
 */
async function claim(pool: pg.Pool, namespace: string, partitions: number): Promise<void> {
  await pool.query(
    'INSERT INTO installation (namespace, partitions) VALUES ($1, $2) ON CONFLICT DO NOTHING',
    [namespace, partitions],
  );
  await assertOurs(pool, { namespace, partitions });
}

/** @throws when the schema is not ready within a short time: to be called again */
export async function whenReady({ ready }: Pick<Database, 'ready'>): Promise<void> {
  const isReady = await Promise.race([ready.then(() => true), sleep(READY_MS, false, { ref: false })]);
  if (!isReady) throw new Error('postgres is away or its schema is not ready');
}
