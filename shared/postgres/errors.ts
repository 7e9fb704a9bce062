/**
 * Which failures of a statement pass by themselves or by an operator's hand. Everything else is a defect of the
 * statement or its data: trying again would only repeat it.
 */
const TRANSIENT_STATES = [
  '08', // connection
  '53', // out of disk, memory, connections
  '57P', // shutting down, starting up
  '58', // input/output error of the server
  '40', // deadlock, serialization
  '55P03', // lock not available in time
  '57014', // statement timeout
  '25006', // read-only: a standby, after a failover
];

/** What pg says when a query had no connection, lost it, or timed out. */
const TRANSIENT_DRIVER_MESSAGES = [
  'Connection terminated',
  'timeout exceeded when trying to connect',
  'Query read timeout',
  'is not queryable',
  'timeout expired',
];

const TRANSIENT_SYSTEM_CODES = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'ETIMEDOUT',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
]);

/**
 * What an application role meets before a worker has migrated: it cannot log in, may not connect to the database,
 * has no tables or functions.
 */
const UNMIGRATED_STATES = new Set(['28P01', '28000', '3D000', '42501', '42P01', '42883', '3F000']);

/** SQLSTATE of an answer of the server: five letters and digits; undefined for an error of the driver. */
export function sqlState(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined;
  const code = (error as { code?: unknown }).code;
  return typeof code === 'string' && /^[0-9A-Z]{5}$/.test(code) && !TRANSIENT_SYSTEM_CODES.has(code)
    ? code
    : undefined;
}

/** True when the statement may succeed if it is sent again later; whether it took effect is not known. */
export function isPostgresTransient(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const state = sqlState(error);
  if (state !== undefined) return TRANSIENT_STATES.some((prefix) => state.startsWith(prefix));
  const code = (error as { code?: unknown }).code;
  if (typeof code === 'string' && TRANSIENT_SYSTEM_CODES.has(code)) return true;
  return TRANSIENT_DRIVER_MESSAGES.some((message) => error.message.includes(message));
}

/** True when the error says that this database has not been migrated yet, or with another owner's password. */
export function isUnmigrated(error: unknown): boolean {
  const state = sqlState(error);
  return state !== undefined && UNMIGRATED_STATES.has(state);
}

/** The database was migrated by a newer weir: this one must not write to it. */
export class SchemaNewer extends Error {
  constructor(found: string, known: string) {
    super(`the database has the schema of a newer weir (${found}); this one knows up to ${known}`);
    this.name = 'SchemaNewer';
  }
}

/** Another process held the migration lock all the time that we were willing to wait. */
export class MigrationBusy extends Error {
  constructor(waitMs: number) {
    super(`another process has been migrating for more than ${waitMs} ms`);
    this.name = 'MigrationBusy';
  }
}

/** The role of DATABASE_URL may not do what migrating takes. */
export class MissingPrivilege extends Error {
  constructor(detail: string, cause?: unknown) {
    super(`DATABASE_URL: ${detail}`, cause === undefined ? undefined : { cause });
    this.name = 'MissingPrivilege';
  }
}
