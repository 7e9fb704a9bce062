import type { Config } from '../config.js';
import { Keys } from '../keys.js';
import { withoutPassword } from '../logging.js';
import { assertRights } from '../redis/rights.js';
import { askRedis } from './ask-redis.js';
import { GivenStore } from './given-store.js';
import { PrivateRedis, type PrivateRedisOptions } from './private-redis.js';
import { assertVersion } from './redis-version.js';
import type { Store, StoreAnswer } from './store.js';

/** REDIS_URL or REDIS_HOST if set, else a Redis of our own. */
export function redisStore({
  config,
  ...options
}: Omit<PrivateRedisOptions, 'dataDir' | 'memoryMax'> & { readonly config: Config }): Store {
  const { redisUrl: url } = config;
  if (url === undefined) {
    return new PrivateRedis({
      ...options,
      dataDir: config.WEIR_DATA_DIR,
      memoryMax: config.REDIS_MEMORY_MAX,
    });
  }
  const { say } = options;
  const shown = withoutPassword(url);
  return new GivenStore({
    ...{ name: 'redis', urlVariable: 'REDIS_URL', givenBy: 'REDIS_URL or REDIS_HOST' },
    waitSeconds: config.STORE_WAIT_SECONDS,
    ...{ url, shown, say },
    ask: (given) => ask(given, new Keys(config.WEIR_NAMESPACE)),
  });
}

/** What it can do without the API and the workers say. */
async function ask(url: string, keys: Keys): Promise<StoreAnswer> {
  const answer = await askRedis(url, (redis) => assertRights(redis, keys, () => undefined));
  if (answer.kind === 'loading') return { kind: 'away', why: 'it is still loading its data' };
  if (answer.kind !== 'ready') return { kind: answer.kind, why: answer.error };
  assertVersion(answer.version, withoutPassword(url));
  return answer;
}
