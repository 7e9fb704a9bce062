import type { Redis } from 'ioredis';

/** How full Redis is, and what it does then. */
export interface StoreMemory {
  readonly usedBytes: number;
  /** `maxmemory`; 0: no bound. */
  readonly maxBytes: number;
  /** `maxmemory_policy` */
  readonly policy: string;
}

/** Undefined where the server does not say. */
export async function readMemory(redis: Redis): Promise<StoreMemory | undefined> {
  const info = await redis.info('memory').catch((error: Error) => {
    if (error.message.startsWith('NOPERM')) return '';
    throw error;
  });
  const field = (name: string): string | undefined => new RegExp(`^${name}:(\\S+)`, 'm').exec(info)?.[1];
  const used = field('used_memory');
  if (used === undefined) return undefined;
  // What Redis itself does not count against the bound: buffers of the AOF and of replicas.
  const uncounted = Number(field('mem_not_counted_for_evict') ?? 0);
  return {
    usedBytes: Number(used) - uncounted,
    maxBytes: Number(field('maxmemory') ?? 0),
    policy: field('maxmemory_policy') ?? 'noeviction',
  };
}

/** Buffers come and go: a Redis that refuses what is appended is a little below its bound when it is asked. */
const FULL_SHARE = 0.99;

/** Redis refuses what is appended. */
export function isFull({ usedBytes, maxBytes }: StoreMemory): boolean {
  return maxBytes > 0 && usedBytes >= maxBytes * FULL_SHARE;
}

/** Under any policy but `noeviction` Redis deletes decision state silently when memory runs out. */
export function evicts({ policy }: StoreMemory): boolean {
  return policy !== 'noeviction';
}
