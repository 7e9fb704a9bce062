import { randomBytes } from 'node:crypto';
import type { Redis } from 'ioredis';
import type { PartitionKeys } from '../../shared/keys.js';
import { Script } from '../../shared/redis/script.js';
import { HEAD_FIELDS, type Head, readHead } from './head.js';

const acquireScript = new Script(import.meta.url, 'acquire.lua');
const renewScript = new Script(import.meta.url, 'renew.lua');
const releaseScript = new Script(import.meta.url, 'release.lua');

export interface Lease {
  /** `<worker>:<fencing token>:<nonce>`: what every fenced script compares. */
  readonly value: string;
  readonly head: Head;
  /** Due time of the earliest timer in ms; Infinity when there is none. */
  readonly nextDueMs: number;
  readonly deadLetters: number;
}

export type AcquireResult =
  | { readonly kind: 'acquired'; readonly lease: Lease }
  | { readonly kind: 'held'; readonly remainingMs: number };

export async function acquireLease(
  redis: Redis,
  keys: PartitionKeys,
  worker: string,
  ttlMs: number,
): Promise<AcquireResult> {
  const reply = (await acquireScript.run(
    redis,
    [keys.lease, keys.fence, keys.head, keys.timers, keys.dead],
    [worker, randomBytes(9).toString('base64url'), ttlMs, randomBytes(8).toString('hex'), ...HEAD_FIELDS],
  )) as [0, number] | [1, string, (string | null)[], string | null, number];
  if (reply[0] === 0) return { kind: 'held', remainingMs: Math.max(0, reply[1]) };
  const [, value, head, due, deadLetters] = reply;
  return {
    kind: 'acquired',
    lease: { value, head: readHead(head), nextDueMs: due === null ? Infinity : Number(due), deadLetters },
  };
}

/** False when the lease belongs to somebody else or nobody: the holder must stop at once. */
export async function renewLease(
  redis: Redis,
  keys: PartitionKeys,
  lease: string,
  ttlMs: number,
): Promise<boolean> {
  return (await renewScript.run(redis, [keys.lease], [lease, ttlMs])) === 1;
}

/** @param endedWell false: the owner failed, which counts as if it had died */
export async function releaseLease(
  redis: Redis,
  keys: PartitionKeys,
  lease: string,
  endedWell: boolean,
): Promise<boolean> {
  return (await releaseScript.run(redis, [keys.lease, keys.head], [lease, endedWell ? 1 : 0])) === 1;
}
