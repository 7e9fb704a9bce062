import { sqlState } from '../../../shared/postgres/errors.js';

const FOREIGN_KEY_VIOLATION = '23503';
const UNIQUE_VIOLATION = '23505';
const CHECK_VIOLATION = '23514';
/** Node's: a number does not fit into the bytes of its column. */
const OUT_OF_RANGE = 'ERR_OUT_OF_RANGE';

/** Data exception, integrity constraint violation, program limit exceeded. */
const REFUSING_CLASSES: readonly string[] = ['22', '23', '54'];

/**
 * Postgres says that it will never take these rows, and that the reason lies in them. All else (it is away, it is
 * full, a lock, a right that is missing) may be different next time.
 */
export function isRefusal(error: unknown): boolean {
  if (error instanceof RangeError) return (error as { code?: unknown }).code === OUT_OF_RANGE;
  const state = sqlState(error);
  if (state === undefined || isUniqueViolation(error) || isStale(error)) return false;
  return REFUSING_CLASSES.includes(state.slice(0, 2));
}

export function isUniqueViolation(error: unknown): boolean {
  return sqlState(error) === UNIQUE_VIOLATION;
}

/**
 * What this process remembers of Postgres is not true any more: a customer was deleted, or the partition of a day.
 * Where no partition takes a row the violation names no constraint.
 */
export function isStale(error: unknown): boolean {
  const state = sqlState(error);
  if (state === CHECK_VIOLATION) return (error as { constraint?: unknown }).constraint === undefined;
  return state === FOREIGN_KEY_VIOLATION;
}
