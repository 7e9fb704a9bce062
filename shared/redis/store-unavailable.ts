import { isTransient } from './errors.js';

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

/** First words of Redis' answers that pass by themselves or by an operator's hand. */
const PASSING_ANSWERS: Readonly<Record<string, string>> = {
  OOM: 'The store is out of memory.',
  READONLY: 'The store is read-only (a failover is under way).',
  LOADING: 'The store is loading its data.',
  BUSY: 'The store is busy.',
  CLUSTERDOWN: 'The store is not complete (a failover is under way).',
  MASTERDOWN: 'The store has lost its master.',
  TRYAGAIN: 'The store is moving its data.',
  NOREPLICAS: 'The store has too few replicas.',
  MISCONF: 'The store cannot write to its disk.',
  NOAUTH: 'The store wants a password.',
  WRONGPASS: 'The store refuses the password.',
  NOPERM: 'The store refuses this user.',
};

/** The error as StoreUnavailable where Redis is away or its answer is one of the above; else as it came: a defect. */
export function classifyRedisError(error: unknown): unknown {
  if (error instanceof StoreUnavailable || !(error instanceof Error)) return error;
  const word = /^[A-Z]+(?= |$)/.exec(error.message)?.[0];
  const answer = word === undefined ? undefined : PASSING_ANSWERS[word];
  if (answer !== undefined) return new StoreUnavailable(answer, error);
  return isTransient(error) ? new StoreUnavailable('The store does not answer.', error) : error;
}
