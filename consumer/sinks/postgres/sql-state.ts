const FOREIGN_KEY_VIOLATION = '23503';
const UNIQUE_VIOLATION = '23505';
const CHECK_VIOLATION = '23514';
const UNDEFINED_TABLE = '42P01';
/** Node's: a number does not fit into the bytes of its column. */
const OUT_OF_RANGE = 'ERR_OUT_OF_RANGE';

/** Data exception, integrity constraint violation, program limit exceeded. */
const REFUSING_CLASSES: readonly string[] = ['22', '23', '54'];

interface PostgresError {
  readonly code: string;
  readonly constraint?: string;
}

/**
 * Postgres says that it will never take these rows, and that the reason lies in them. All else (it is away, it is
 * full, a lock, a right that is missing) may be different next time.
 */
export function isRefusal(error: unknown): boolean {
  const { code = '' } = error as Partial<PostgresError>;
  if (code === OUT_OF_RANGE) return true;
  return REFUSING_CLASSES.includes(code.slice(0, 2)) && !isUniqueViolation(error) && !isStale(error);
}

export function isUniqueViolation(error: unknown): boolean {
  return (error as Partial<PostgresError>).code === UNIQUE_VIOLATION;
}

/**
 * What this process remembers of Postgres is not true any more: a customer was deleted, or the partition of a day.
 * Where no partition takes a row the violation names no constraint.
 */
export function isStale(error: unknown): boolean {
  const { code, constraint } = error as Partial<PostgresError>;
  if (code === CHECK_VIOLATION) return constraint === undefined;
  return code === FOREIGN_KEY_VIOLATION || code === UNDEFINED_TABLE;
}
