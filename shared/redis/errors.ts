/**
 * Which failures of a Redis command go away by themselves. Everything else (WRONGTYPE, ERR …) is a defect: trying
 * again would only repeat it.
 */
const TRANSIENT_REPLIES = [
  'LOADING',
  'OOM',
  'READONLY',
  'BUSY',
  'TRYAGAIN',
  'CLUSTERDOWN',
  'MASTERDOWN',
  'MISCONF',
  'NOREPLICAS',
  'NOSCRIPT',
  'UNBLOCKED',
];

/** What ioredis says when a command had no connection, lost it, or timed out. */
const TRANSIENT_DRIVER_MESSAGES = [
  'Connection is closed',
  "Stream isn't writeable",
  'Command timed out',
  'Reached the max retries per request',
  'Command aborted due to connection close',
  'Socket closed unexpectedly',
];

const TRANSIENT_SYSTEM_CODES = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'ETIMEDOUT',
  'ENOTFOUND',
  'EAI_AGAIN',
]);

/** True when the command may succeed if it is sent again later; whether it took effect is not known. */
export function isTransient(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const code = (error as { code?: unknown }).code;
  if (typeof code === 'string' && TRANSIENT_SYSTEM_CODES.has(code)) return true;
  if (TRANSIENT_REPLIES.some((reply) => error.message.startsWith(reply))) return true;
  return TRANSIENT_DRIVER_MESSAGES.some((message) => error.message.includes(message));
}
