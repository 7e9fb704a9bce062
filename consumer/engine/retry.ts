import { isTransient } from '../../shared/redis/errors.js';

const DELAY_MS_MIN = 20;
const DELAY_MS_MAX = 1000;
/** After this many attempts, about 5 s, and at every multiple, somebody should hear of it. */
const LONG_ATTEMPTS = 10;

/** Thrown out of a retry when the owner was told to stop: whether the operation took effect is not known. */
export class GaveUpError extends Error {
  constructor(cause: unknown) {
    super('gave up', { cause });
    this.name = 'GaveUpError';
  }
}

/**
 * Repeats an operation that is safe to repeat while Redis is away: delay 20 ms, doubling to 1 s, until it answers
 * or `mayGoOn` says no. Other errors are thrown at once. `onLong` is told when it takes long.
 */
export async function retryWhileAway<T>(
  operation: () => Promise<T>,
  mayGoOn: () => boolean,
  onLong: (error: unknown) => void = () => undefined,
): Promise<T> {
  let delayMs = DELAY_MS_MIN;
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await operation();
    } catch (error) {
      if (!isTransient(error)) throw error;
      if (!mayGoOn()) throw new GaveUpError(error);
      if (attempt % LONG_ATTEMPTS === 0) onLong(error);
    }
    await new Promise((resolve) => setTimeout(resolve, delayMs));
    delayMs = Math.min(delayMs * 2, DELAY_MS_MAX);
  }
}
