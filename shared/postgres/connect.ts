import pg from 'pg';
import type { Lifecycle } from '../lifecycle.js';
import type { Logger } from '../logging.js';
import { columnTypes } from './column-types.js';

export interface PostgresOptions {
  /** Of the role to be: see database-url.ts. */
  readonly url: string;
  /** Name of the connections in `pg_stat_activity` and in the logs. */
  readonly name: string;
  readonly log: Logger;
  readonly lifecycle?: Lifecycle;
  /** Connections opened at most. */
  readonly poolMax: number;
  /** How long a caller waits for a connection, new or free, in ms. */
  readonly connectTimeoutMs?: number;
  /**
   * A query without an answer after this many ms fails, and its connection is dropped: the server's own
   * statement_timeout says nothing when the server hangs. Absent: for ever.
   */
  readonly queryTimeoutMs?: number;
  /** Send what is asked for without waiting for the answers before it. */
  readonly pipeline?: boolean;
}

const CONNECT_TIMEOUT_MS = 2000;
/** A query that is under way gets so long when the process ends; a server that hangs must not hold it up. */
const CLOSE_MS = 3000;
/** A connection unused for so long is closed. */
const IDLE_MS = 60_000;

/**
 * A bounded pool of connections. They are opened when needed, so Postgres may be away when the process starts and
 * may go away at any time: then queries fail (see errors.ts), nothing else does.
 */
export function connectPostgres(options: PostgresOptions): pg.Pool {
  const { name, log, queryTimeoutMs } = options;
  const pool = new pg.Pool({
    connectionString: options.url,
    application_name: `weir-${name}`,
    max: options.poolMax,
    connectionTimeoutMillis: options.connectTimeoutMs ?? CONNECT_TIMEOUT_MS,
    idleTimeoutMillis: IDLE_MS,
    keepAlive: true,
    types: columnTypes,
    ...(options.pipeline === undefined ? {} : { pipeline: options.pipeline }),
    ...(queryTimeoutMs === undefined ? {} : { query_timeout: queryTimeoutMs }),
  });
  let down = false;
  const lost = (error: Error): void => {
    if (!down) log.warn({ connection: name, error: error.message }, 'postgres connection lost');
    down = true;
  };
  // The pool listens to clients that are idle; one that is at work and loses its connection would end the process.
  pool.on('error', lost);
  pool.on('connect', (client) => {
    client.on('error', lost);
    if (down) log.info({ connection: name }, 'postgres connection restored');
    down = false;
  });
  options.lifecycle?.onClose(`postgres ${name}`, () => Promise.race([pool.end(), passed(CLOSE_MS)]));
  return pool;
}

/** Does not keep the process alive. */
function passed(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms).unref();
  });
}
