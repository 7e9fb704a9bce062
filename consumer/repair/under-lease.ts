import { setTimeout as sleep } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import { nanoid } from 'nanoid';
import type { PartitionKeys } from '../../shared/keys.js';
import { acquireLease, type Lease, releaseLease } from '../engine/lease.js';

/** A partition that cannot go on is owned for moments only. */
const LEASE_WAIT_MS = 10_000;
const LEASE_POLL_MS = 100;
/** So long nobody else works on it, should this process be killed. */
const LEASE_TTL_MS = 10_000;

/** Works on a partition while nobody else does. @throws where a worker has it */
export async function underLease<T>(
  redis: Redis,
  keys: PartitionKeys,
  name: string,
  work: (lease: Lease) => Promise<T>,
): Promise<T> {
  const lease = await acquire(redis, keys, name);
  try {
    return await work(lease);
  } finally {
    await releaseLease(redis, keys, lease.value, true).catch(() => undefined);
  }
}

async function acquire(redis: Redis, keys: PartitionKeys, name: string): Promise<Lease> {
  const deadline = performance.now() + LEASE_WAIT_MS;
  while (performance.now() < deadline) {
    const result = await acquireLease(redis, keys, `repair-${nanoid(10)}`, LEASE_TTL_MS);
    if (result.kind === 'acquired') return result.lease;
    await sleep(LEASE_POLL_MS);
  }
  throw new Error(
    `${name} is owned by a worker for ${LEASE_WAIT_MS / 1000} s already: stop it, and try again`,
  );
}
