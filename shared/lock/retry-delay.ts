/** The delay between two tries grows up to this many times the first one. */
const GROWTH_MAX = 16;

export interface RetryDelay {
  /** Tries made before, less one: 0 after the first. */
  readonly attempt: number;
  readonly retryMs: number;
  /** In how many ms the present lease runs out; Infinity when that is not known. */
  readonly remainingMs: number;
  /** 0 to 1; for tests. */
  readonly random?: () => number;
}

/**
 * How long to wait before asking for a lock again, in ms: anything between half of `retryMs` and an upper end that
 * doubles with each try (full jitter, so that waiters do not come in step), but not past the end of the present
 * lease, when the lock of a holder that died becomes free. Those that wait for that end are spread over half of
 * `retryMs`.
 */
export function retryDelayMs({ attempt, retryMs, remainingMs, random = Math.random }: RetryDelay): number {
  const least = retryMs / 2;
  const most = retryMs * Math.min(2 ** attempt, GROWTH_MAX);
  const delayMs = least + random() * (most - least);
  return Math.min(delayMs, remainingMs + 1 + random() * least);
}
