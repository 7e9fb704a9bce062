import { setTimeout as sleep } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import { nanoid } from 'nanoid';
import type { Keys, PartitionKeys } from '../../shared/keys.js';
import { Script } from '../../shared/redis/script.js';
import { type Partition, partitionName } from '../../shared/topics.js';
import { HEAD_FIELDS, readHead } from '../engine/head.js';
import { acquireLease, type Lease, releaseLease } from '../engine/lease.js';
import { finishCommit, readUnfinished } from '../engine/unfinished-commit.js';

const foldAgainScript = new Script(import.meta.url, 'fold-again.lua');

/** A dirty partition is owned for moments only. */
const LEASE_WAIT_MS = 10_000;
const LEASE_POLL_MS = 100;
/** So long nobody else works on it, should this process be killed. */
const LEASE_TTL_MS = 10_000;
/** Commands that are named. */
const NAMED_MAX = 10;

export interface RepairOptions {
  readonly redis: Redis;
  readonly keys: Keys;
  readonly partition: Partition;
  /** Where the head does not say what is left to do: fold the step again all the same. */
  readonly foldAgain: boolean;
  readonly say: (line: string) => void;
}

/** Repairs the head of one partition, under its lease. True where it is as it should be, now or already. */
export async function repairPartition(options: RepairOptions): Promise<boolean> {
  const { redis, partition, say } = options;
  const keys = options.keys.partition(partition);
  const name = partitionName(partition);
  if ((await redis.hget(keys.head, 'dirty')) !== '1') {
    say(`${name}: its head is not dirty, there is nothing to repair`);
    return true;
  }
  const lease = await acquire(redis, keys, name);
  try {
    if (!lease.head.dirty) {
      say(`${name}: a worker has finished it meanwhile`);
      return true;
    }
    return await repair(options, keys, lease);
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

async function repair(
  { redis, partition, foldAgain, say }: RepairOptions,
  keys: PartitionKeys,
  lease: Lease,
): Promise<boolean> {
  const name = partitionName(partition);
  const { seq, position } = lease.head;
  const unfinished = await readUnfinished(redis, keys);
  if (unfinished !== undefined) {
    const { commandsLeft, error } = unfinished;
    const more = commandsLeft.length > NAMED_MAX ? ` … (${commandsLeft.length})` : '';
    say(`${name}: commit ${seq + 1}, after ${position}, failed half-way: ${error}`);
    say(
      `  left to do: ${commandsLeft.slice(0, NAMED_MAX).join(', ')}${more}. What came before took effect, once.`,
    );
    const result = await finishCommit(redis, keys, lease.value);
    if (result?.kind === 'OK' || result?.kind === 'ALREADY') {
      say('  finished: the commit is whole, nothing is lost and nothing counts twice');
      return true;
    }
    const why = result?.kind === 'HALFWAY' ? result.error : result?.kind;
    say(`  not finished: ${why}. Remove the cause and try again; workers try every 5 s.`);
    return false;
  }
  say(`${name}: commit ${seq + 1}, after ${position}, failed half-way, and the head does not say where`);
  say(
    '  (a worker of weir before 0.1.0 wrote it, or a hand). Which of its documents, timers, outbox entries and',
  );
  say(
    '  replies were written cannot be known; its ids were not remembered, and its entries are in the stream.',
  );
  if (!foldAgain) {
    say(
      '  --fold-again folds the step again: what was written of it counts twice. Or put its documents back first.',
    );
    return false;
  }
  const reply = await foldAgainScript.run(redis, [keys.lease, keys.head], [lease.value]);
  if (reply === 0) throw new Error(`${name}: the lease is gone`);
  const head = readHead(await redis.hmget(keys.head, ...HEAD_FIELDS));
  say(
    `  the step after ${head.position} is folded again by the next owner; what was written of it counts twice`,
  );
  return true;
}
