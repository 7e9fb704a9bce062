import type { Redis } from 'ioredis';
import type { Keys } from './keys.js';

/** This process was configured with another number of partitions than the data was written with. */
export class PartitionCountError extends Error {
  constructor(
    readonly recorded: string,
    readonly configured: number,
  ) {
    super(
      `PARTITIONS is ${configured}, but the data in Redis was written with ${recorded} partitions per topic. ` +
        `A user's state would be looked for in the wrong place. Set PARTITIONS=${recorded}, or use another ` +
        'WEIR_NAMESPACE or an empty Redis.',
    );
    this.name = 'PartitionCountError';
  }
}

/**
 * Records the partition count at the first start, and checks it at every other.
 * @throws PartitionCountError when another count is recorded; what the driver throws when Redis is away.
 */
export async function claimInstallation(redis: Redis, keys: Keys, partitions: number): Promise<void> {
  await redis.hsetnx(keys.meta, 'partitions', partitions);
  const recorded = await redis.hget(keys.meta, 'partitions');
  if (recorded !== null && recorded !== String(partitions)) {
    throw new PartitionCountError(recorded, partitions);
  }
}

/**
 * What is wrong with how Redis treats its data when memory runs out; undefined when nothing is, or when the
 * server does not say. Under any policy but `noeviction` Redis deletes decision state silently.
 */
export async function evictionDefect(redis: Redis): Promise<string | undefined> {
  const memory = await redis.info('memory');
  const policy = /^maxmemory_policy:(\S+)/m.exec(memory)?.[1];
  if (policy === undefined || policy === 'noeviction') return undefined;
  return `Redis has maxmemory-policy ${policy}: when memory runs out it deletes decisions. Set noeviction.`;
}
