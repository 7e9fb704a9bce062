import type pg from 'pg';
import { LivedTimeout } from '../../shared/lived-time.js';
import type { Logger } from '../../shared/logging.js';
import { isUnmigrated } from '../../shared/postgres/errors.js';
import { type Ours, otherOwner } from '../../shared/postgres/other-owner.js';

/**
 * - `ok`: answers, its schema is as new as this process knows or newer, and row level security binds us
 * - `migrating`: answers, but no worker has brought the schema up to date yet
 * - `another_installation`: the workers of another one write into it; nothing of it is served
 * - `down`: does not answer in time
 * - `not_configured`: there is no DATABASE_URL
 */
export type PostgresState = 'ok' | 'down' | 'migrating' | 'another_installation' | 'not_configured';

/** Served by no index: two functions. */
const ASK = `SELECT weir_schema_version() AS version, row_security_active('usage_events') AS bound`;
/** A worker that starts with us takes a moment to migrate. */
const MIGRATING_MS_MAX = 10_000;

export interface PostgresCheckOptions extends Ours {
  /** Of the application role, for this check alone: it must not wait behind queries. One connection is enough. */
  readonly pool: pg.Pool;
  readonly log: Logger;
  /** Name of the newest migration that this process knows. */
  readonly newest: string;
  readonly deadlineMs: number;
}

/** What `/ready` says of Postgres. Asks once at a time, whoever wants to know, and answers within the deadline. */
export class PostgresCheck {
  private asking: Promise<PostgresState> | undefined;
  private logged: PostgresState = 'ok';
  private migratingSince: number | undefined;

  constructor(private readonly options: PostgresCheckOptions) {}

  async state(): Promise<PostgresState> {
    this.asking ??= this.ask().finally(() => {
      this.asking = undefined;
    });
    let timer: LivedTimeout | undefined;
    const late = new Promise<PostgresState>((resolve) => {
      timer = new LivedTimeout(() => resolve('down'), this.options.deadlineMs);
    });
    try {
      return await Promise.race([this.asking, late]);
    } finally {
      timer?.clear();
    }
  }

  private async ask(): Promise<PostgresState> {
    const { pool, newest } = this.options;
    try {
      const { rows } = await pool.query<{ version: string | null; bound: boolean }>(ASK);
      const [row] = rows;
      if (row?.bound !== true) return this.found('down', 'row level security does not bind this role');
      const { version } = row;
      // A newer schema is one that a newer worker has made: those stay readable for the version before.
      if (version === null || version < newest) {
        return this.found('migrating', `its schema is ${version}, not yet ${newest}`);
      }
      const other = await otherOwner(pool, this.options);
      if (other !== undefined) return this.found('another_installation', other);
      return this.found('ok', '');
    } catch (error) {
      return this.found(isUnmigrated(error) ? 'migrating' : 'down', (error as Error).message);
    }
  }

  /** Logs changes, once, and a migration only where it takes its time. */
  private found(state: PostgresState, detail: string): PostgresState {
    if (state !== 'migrating') this.migratingSince = undefined;
    else this.migratingSince ??= performance.now();
    if (performance.now() - (this.migratingSince ?? -Infinity) < MIGRATING_MS_MAX) return state;
    if (state !== this.logged) {
      if (state === 'ok') this.options.log.info('postgres is ready');
      else this.options.log.warn({ postgres: state, detail }, 'postgres is not ready');
    }
    this.logged = state;
    return state;
  }
}
