interface Answer {
  /** For who asked. */
  readonly detail: string;
  /** It goes away by itself, so the same command is worth sending again; else by an operator's hand. */
  readonly isTransient: boolean;
}

const passes = (detail: string): Answer => ({ detail, isTransient: true });
const wantsOperator = (detail: string): Answer => ({ detail, isTransient: false });

/**
 * First words of Redis' answers that are no defect of ours. With each of them Redis has refused before it did anything:
 * scripts too, which declare every key. Everything else (WRONGTYPE, ERR …) is a defect: trying again would repeat it.
 */
const ANSWERS: ReadonlyMap<string, Answer> = new Map([
  ['OOM', passes('The store is out of memory.')],
  ['READONLY', passes('The store is read-only (a failover is under way).')],
  ['LOADING', passes('The store is loading its data.')],
  ['BUSY', passes('The store is busy.')],
  ['CLUSTERDOWN', passes('The store is not complete (a failover is under way).')],
  ['MASTERDOWN', passes('The store has lost its master.')],
  ['TRYAGAIN', passes('The store is moving its data.')],
  ['ASK', passes('The store is moving its data.')],
  ['MOVED', passes('The store has moved its data.')],
  ['NOREPLICAS', passes('The store has too few replicas.')],
  ['MISCONF', passes('The store cannot write to its disk.')],
  ['NOSCRIPT', passes('The store was restarted.')],
  ['UNBLOCKED', passes('The store was told to end the wait.')],
  ['NOAUTH', wantsOperator('The store wants a password.')],
  ['WRONGPASS', wantsOperator('The store refuses the password.')],
  ['NOPERM', wantsOperator('The store refuses this user.')],
]);

/** What ioredis says when a command had no connection, lost it, or timed out: whether it took effect is not known. */
const TRANSIENT_DRIVER_MESSAGES = [
  'Connection is closed',
  "Stream isn't writeable",
  'Command timed out',
  'Reached the max retries per request',
  'Command aborted due to connection close',
  'Socket closed unexpectedly',
  "Cluster isn't ready",
  'Too many Cluster redirections',
];

const TRANSIENT_SYSTEM_CODES = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'ETIMEDOUT',
  'ENOTFOUND',
  'EAI_AGAIN',
]);

/** Why Redis refused, where that is no defect of ours. */
export function refusalOf(error: Error): string | undefined {
  return answerOf(error)?.detail;
}

/**
 * True when the command may succeed if it is sent again later. Whether it took effect may not be known: only what is
 * safe to send twice (a commit, a read) may be sent again for this.
 */
export function isTransient(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const code = (error as { code?: unknown }).code;
  if (typeof code === 'string' && TRANSIENT_SYSTEM_CODES.has(code)) return true;
  if (answerOf(error)?.isTransient === true) return true;
  return TRANSIENT_DRIVER_MESSAGES.some((message) => error.message.includes(message));
}

function answerOf({ message }: Error): Answer | undefined {
  const word = /^[A-Z]+(?= |$)/.exec(message)?.[0];
  return word === undefined ? undefined : ANSWERS.get(word);
}
