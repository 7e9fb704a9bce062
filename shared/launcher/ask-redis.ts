import { Redis } from 'ioredis';
import { isReplyToSelect } from '../redis/connect.js';
import { SetupError } from '../setup-error.js';

const askMsMax = 1000;

export type RedisAnswer =
  | { readonly kind: 'ready'; readonly version: string | undefined; readonly processId: number | undefined }
  /** It reads its data back. */
  | { readonly kind: 'loading' }
  /** It answers, but not to us: waiting does not help. */
  | { readonly kind: 'refused'; readonly error: string }
  | { readonly kind: 'away'; readonly error: string };

/** One PING, and what else is to be asked, on a connection of its own, bounded to a second or so. */
export async function askRedis(url: string, more?: (redis: Redis) => Promise<void>): Promise<RedisAnswer> {
  const redis = new Redis(url, {
    lazyConnect: true,
    connectTimeout: askMsMax,
    commandTimeout: askMsMax,
    // The ready check would hide LOADING.
    enableReadyCheck: false,
    retryStrategy: () => null,
    protocol: 2,
  });
  let connectionError: Error | undefined;
  redis.on('error', (error) => {
    connectionError = error;
  });
  try {
    await redis.connect();
    // An index that it lacks is reported so, and by nothing else: the driver goes on, in database 0.
    if (connectionError !== undefined) throw connectionError;
    await redis.ping();
    await more?.(redis);
    // An ACL may forbid INFO; then nothing is known, and nothing is wrong.
    const info = await redis.info('server').catch(() => '');
    const processId = field(info, 'process_id');
    return {
      kind: 'ready',
      version: field(info, 'redis_version'),
      processId: processId === undefined ? undefined : Number(processId),
    };
  } catch (error) {
    return failure(connectionError ?? (error as Error));
  } finally {
    redis.disconnect();
  }
}

function failure(error: Error): RedisAnswer {
  const { message } = error;
  if (error instanceof SetupError) return { kind: 'refused', error: message };
  if (isReplyToSelect(error)) return { kind: 'refused', error: message };
  if (message.startsWith('LOADING')) return { kind: 'loading' };
  if (/^(NOAUTH|WRONGPASS|NOPERM|DENIED)/.test(message)) return { kind: 'refused', error: message };
  return { kind: 'away', error: message };
}

function field(info: string, name: string): string | undefined {
  return new RegExp(`^${name}:(.*?)\\r?$`, 'm').exec(info)?.[1];
}
