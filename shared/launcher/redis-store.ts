import type { Config } from '../config.js';
import { GivenRedis } from './given-redis.js';
import { PrivateRedis, type PrivateRedisOptions } from './private-redis.js';
import type { Store } from './store.js';

/** REDIS_URL or REDIS_HOST if set, else a Redis of our own. */
export function redisStore({
  config,
  ...options
}: Omit<PrivateRedisOptions, 'dataDir'> & { readonly config: Config }): Store {
  return config.redisUrl === undefined
    ? new PrivateRedis({ ...options, dataDir: config.WEIR_DATA_DIR })
    : new GivenRedis(config.redisUrl, options.say);
}
