import type { Redis } from 'ioredis';
import type { Lifecycle } from '../lifecycle.js';
import { type Logger, withoutPassword } from '../logging.js';
import { SetupError } from '../setup-error.js';
import { CorkedRedis } from './corked-redis.js';
import { PatientRedis } from './patient-redis.js';
import { Script } from './script.js';

export interface ConnectOptions {
  readonly url: string;
  /** Name of the connection in `CLIENT LIST` and in the logs. */
  readonly name: string;
  readonly log: Logger;
  readonly lifecycle?: Lifecycle;
  /** A command without an answer after this many ms fails; absent on connections that block. */
  readonly commandTimeoutMs?: number;
  /** Send what is asked for in one turn of the event loop as one write. */
  readonly autoPipelining?: boolean;
  /** Called when Redis does not have the database of the URL; absent: the error is thrown, and ends the process. */
  readonly onRefused?: (error: SetupError) => void;
}

/**
 * A connection on which nothing waits unseen: a command fails at once while Redis is away, is never sent twice by
 * the driver, and times out. Reconnects for ever, with a delay of 50 ms to 1 s.
 */
export function connectRedis(options: ConnectOptions): Redis {
  const { url, name, log, lifecycle, onRefused = raise } = options;
  const redis = new (options.autoPipelining === true ? CorkedRedis : PatientRedis)(url, {
    connectionName: `weir-${name}`,
    // RESP2 on purpose: Redis 7.0's RESP3 brings nothing here and ioredis parses RESP2 faster.
    protocol: 2,
    enableOfflineQueue: false,
    // Whether a command that lost its connection took effect is for the caller to find out, not for the driver.
    autoResendUnfulfilledCommands: false,
    // Who listens subscribes on every 'ready'. The driver's own attempt is one whose failure nobody can catch: a
    // connection lost at that moment would end the process.
    autoResubscribe: false,
    maxRetriesPerRequest: 0,
    connectTimeout: 2000,
    // A master that was demoted still answers: only a new connection finds its successor.
    reconnectOnError: (error) => error.message.startsWith('READONLY'),
    retryStrategy: (attempt) => Math.min(50 * attempt, 1000),
  });
  redis.commandTimeoutMs = options.commandTimeoutMs;
  Script.defineAll(redis);
  let down = false;
  let everUp = false;
  let refused = false;
  redis.on('error', (error) => {
    if (refused || redis.givenUp) return;
    if (isReplyToSelect(error)) {
      refused = /^(ERR|NOPERM)/.test(error.message);
      // The driver would go on, in database 0.
      redis.disconnect(!refused);
      if (refused) {
        setImmediate(onRefused, new SetupError(`REDIS_URL: ${withoutPassword(url)}: ${error.message}`));
        return;
      }
    }
    const what = everUp ? 'redis connection lost' : 'redis does not answer yet';
    if (!down) log.warn({ connection: name, error: error.message }, what);
    down = true;
  });
  redis.on('ready', () => {
    if (down) log.info({ connection: name }, everUp ? 'redis connection restored' : 'redis answers');
    everUp = true;
    down = false;
  });
  lifecycle?.onClose(`redis ${name}`, () => redis.disconnect());
  return redis;
}

export function isReplyToSelect(error: Error & { readonly command?: { readonly name?: string } }): boolean {
  return error.command?.name === 'select';
}

function raise(error: Error): never {
  throw error;
}

/** Waits until the connection is ready. @throws after `deadlineMs`. */
export async function whenReady(redis: Redis, deadlineMs: number): Promise<void> {
  if (redis.status === 'ready') return;
  await new Promise<void>((resolve, reject) => {
    const timer = setTimeout(() => {
      redis.off('ready', ready);
      reject(new Error(`Redis did not answer within ${deadlineMs} ms`));
    }, deadlineMs);
    const ready = () => {
      clearTimeout(timer);
      resolve();
    };
    redis.once('ready', ready);
  });
}
