import { runner } from 'node-pg-migrate';
import pg from 'pg';
import type { Logger } from '../logging.js';
import { tenantKey } from './database-url.js';
import { MigrationBusy, MissingPrivilege, SchemaNewer, sqlState } from './errors.js';
import { migrationNames, migrationsFolder } from './migrations.js';
import { assertOurs, type Ours } from './other-owner.js';
import { writeGroupRoles, writeLoginRoles } from './roles.js';

export interface MigrateOptions {
  /** How long to wait for another process that is migrating, in ms. */
  readonly waitMs: number;
  /** Of a process that belongs to an installation: the database of another one is left as it is. */
  readonly ours?: Ours;
  /** Where the SQL files are; for tests. */
  readonly folder?: string;
}

/** Any number that no other program takes as its own: `weir` in ASCII. */
const LOCK = 0x77656972;
const CONNECT_TIMEOUT_MS = 5000;
/**
 * A statement that cannot have its lock gives up after this long: while it queues, it holds up everybody behind it.
 */
const STATEMENT_LOCK_MS = 5000;
/** Some tables have a table a day; these are made ahead, so that midnight is no event. */
const DAYS_AHEAD = 2;

const LOCK_NOT_AVAILABLE = '55P03';
const INSUFFICIENT_PRIVILEGE = '42501';

/**
 * Brings a database to the present schema: group roles, migrations that are missing, login roles with their passwords
 * and grants, tenant key, partitions for today and the next days. Changes nothing that is as it should be. Any number
 * of processes may call it at once: a session-wide advisory lock lets one work at a time, and the lock of one that
 * is killed is gone with its connection. All missing migrations are one transaction: all or none.
 *
 * @param url of the owner, straight to Postgres or through a pool per session
 * @throws SchemaNewer, MigrationBusy, MissingPrivilege, AnotherInstallation; what the driver throws, see errors.ts
 */
export async function migrate(url: string, log: Logger, options: MigrateOptions): Promise<void> {
  const client = new pg.Client({
    connectionString: url,
    application_name: 'weir-migrate',
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    keepAlive: true,
  });
  // The query under way reports it too; without a listener it would end the process.
  client.on('error', (error) => log.warn({ error: error.message }, 'postgres connection lost'));
  await client.connect();
  try {
    await lock(client, options.waitMs);
    if (options.ours !== undefined) await refuseOther(client, options.ours);
    await bringUp(client, url, log, options.folder ?? migrationsFolder);
  } catch (error) {
    throw sqlState(error) === INSUFFICIENT_PRIVILEGE ? missingPrivilege(error as Error) : error;
  } finally {
    // Also gives the lock back.
    await client.end().catch(() => undefined);
  }
}

async function lock(client: pg.Client, waitMs: number): Promise<void> {
  await client.query(
    `SELECT set_config('statement_timeout', '0', false), set_config('lock_timeout', $1, false)`,
    [String(Math.max(1, waitMs))],
  );
  try {
    await client.query('SELECT pg_advisory_lock($1)', [LOCK]);
  } catch (error) {
    throw sqlState(error) === LOCK_NOT_AVAILABLE ? new MigrationBusy(waitMs) : error;
  }
  await client.query(`SELECT set_config('lock_timeout', $1, false)`, [String(STATEMENT_LOCK_MS)]);
}

async function bringUp(client: pg.Client, url: string, log: Logger, folder: string): Promise<void> {
  await refuseNewer(client, folder);
  // Policies and grants in the migrations name them.
  await writeGroupRoles(client);
  const applied = await runner({
    dbClient: client,
    dir: folder,
    direction: 'up',
    migrationsSchema: 'weir_private',
    createMigrationsSchema: true,
    migrationsTable: 'migrations',
    singleTransaction: true,
    // We hold a lock of our own that covers the roles too, and can be waited for.
    noLock: true,
    logger: {
      debug: (message) => log.debug(message),
      info: (message) => log.debug(message),
      warn: (message) => log.warn(message),
      error: (message) => log.error(message),
    },
  });
  if (applied.length > 0) {
    log.info({ migrations: applied.map(({ name }) => name) }, 'postgres schema migrated');
  }
  await writeLoginRoles(client, url);
  await client.query(
    `INSERT INTO weir_private.tenant_key (key) VALUES ($1)
     ON CONFLICT (singleton) DO UPDATE SET key = excluded.key WHERE tenant_key.key <> excluded.key`,
    [tenantKey(url)],
  );
  await ensureDays(client);
}

/** Calls `ensure_<what>_partition` of every table that has a table a day. */
async function ensureDays(client: pg.Client): Promise<void> {
  const { rows } = await client.query<{ ensure: string }>(
    `SELECT oid::regproc::text AS ensure FROM pg_proc
     WHERE pronamespace = 'public'::regnamespace AND proname ~ '^ensure_[a-z]+_partition$' ORDER BY 1`,
  );
  for (const { ensure } of rows) {
    await client.query(
      `SELECT ${ensure}((now() AT TIME ZONE 'UTC')::date + ahead) FROM generate_series(0, $1::integer) AS ahead`,
      [DAYS_AHEAD],
    );
  }
}

/** @throws SchemaNewer when a migration was applied that we do not have */
async function refuseNewer(client: pg.Client, folder: string): Promise<void> {
  const table = await client.query<{ found: boolean }>(
    `SELECT to_regclass('weir_private.migrations') IS NOT NULL AS found`,
  );
  if (table.rows[0]?.found !== true) return;
  const known = migrationNames(folder);
  const { rows } = await client.query<{ name: string }>(
    `SELECT name FROM weir_private.migrations WHERE name <> ALL ($1) ORDER BY name DESC LIMIT 1`,
    [known],
  );
  const [unknown] = rows;
  if (unknown !== undefined) throw new SchemaNewer(unknown.name, known.at(-1) ?? 'nothing');
}

/** @throws AnotherInstallation: what a newer weir makes of its schema is not ours to decide */
async function refuseOther(client: pg.Client, ours: Ours): Promise<void> {
  const { rows } = await client.query<{ found: boolean }>(
    `SELECT to_regclass('public.installation') IS NOT NULL AS found`,
  );
  if (rows[0]?.found === true) await assertOurs(client, ours);
}

function missingPrivilege(error: Error): MissingPrivilege {
  return new MissingPrivilege(
    `${error.message}. Its role must own the database and may create roles (ALTER ROLE … CREATEROLE); ` +
      'where weir_app and weir_sink exist already, it needs them WITH ADMIN OPTION.',
    error,
  );
}
