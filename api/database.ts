import type { Config } from '../shared/config.js';
import type { Lifecycle } from '../shared/lifecycle.js';
import type { Logger } from '../shared/logging.js';
import { connectPostgres } from '../shared/postgres/connect.js';
import { appUrl, tenantKey } from '../shared/postgres/database-url.js';
import { migrationNames } from '../shared/postgres/migrations.js';
import { TenantDatabase } from '../shared/postgres/tenant-context.js';
import { PostgresCheck, type PostgresState } from './operations/postgres-check.js';
import { OwnDatabase } from './own-database.js';

/** Longer than the statement_timeout of the role (5 s): then it is the server that does not answer. */
const QUERY_TIMEOUT_MS = 6000;
const CHECK_TIMEOUT_MS = 1000;

export interface Database {
  /** undefined without DATABASE_URL. */
  readonly tenants: OwnDatabase | undefined;
  /** Answers within a second. */
  readonly state: () => Promise<PostgresState>;
}

/**
 * Postgres as the API has it: in the role that sees one tenant at a time. Opens nothing yet: Postgres may be away, and
 * a worker may have to make that role first.
 * @throws DatabaseUrlError
 */
export function createDatabase(config: Config, log: Logger, lifecycle: Lifecycle): Database {
  const { DATABASE_URL: ownerUrl, DATABASE_POOL_MAX: poolMax } = config;
  if (ownerUrl === undefined) return { tenants: undefined, state: async () => 'not_configured' };
  const connection = { url: appUrl(ownerUrl), log, lifecycle };
  const pool = connectPostgres({
    ...connection,
    ...{ name: 'api', poolMax, queryTimeoutMs: QUERY_TIMEOUT_MS, pipeline: true },
  });
  const check = new PostgresCheck({
    pool: connectPostgres({
      ...connection,
      ...{ name: 'api-ready', poolMax: 1, queryTimeoutMs: CHECK_TIMEOUT_MS },
      connectTimeoutMs: CHECK_TIMEOUT_MS,
    }),
    log,
    newest: migrationNames().at(-1)!,
    namespace: config.WEIR_NAMESPACE,
    partitions: config.PARTITIONS,
    deadlineMs: CHECK_TIMEOUT_MS,
  });
  const tenants = new OwnDatabase(new TenantDatabase(pool, tenantKey(ownerUrl)), check);
  return { tenants, state: () => check.state() };
}
