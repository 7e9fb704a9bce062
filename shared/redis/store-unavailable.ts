import { isTransient, refusalOf } from './errors.js';

/**
 * Redis could not be asked, or refused for a reason that passes: away, too slow, loading, read-only, out of
 * memory. Whether a write took effect is unknown; message ids make trying again safe.
 */
export class StoreUnavailable extends Error {
  constructor(
    readonly detail: string,
    cause?: unknown,
  ) {
    super(detail, cause === undefined ? undefined : { cause });
    this.name = 'StoreUnavailable';
  }
}

/** The error as StoreUnavailable where Redis is away or refuses for a reason that passes; else as it came: a defect. */
export function classifyRedisError(error: unknown): unknown {
  if (error instanceof StoreUnavailable || !(error instanceof Error)) return error;
  const refusal = refusalOf(error);
  if (refusal !== undefined) return new StoreUnavailable(refusal, error);
  return isTransient(error) ? new StoreUnavailable('The store does not answer.', error) : error;
}
