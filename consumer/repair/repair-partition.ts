import type { Redis } from 'ioredis';
import type { Keys, PartitionKeys } from '../../shared/keys.js';
import { Script } from '../../shared/redis/script.js';
import { type Partition, partitionName } from '../../shared/topics.js';
import { HEAD_FIELDS, readHead } from '../engine/head.js';
import { CHUNK_IDS, chunkKeys } from '../engine/id-store.js';
import type { Lease } from '../engine/lease.js';
import { finishCommit, readUnfinished } from '../engine/unfinished-commit.js';
import { underLease } from './under-lease.js';

const foldAgainScript = new Script(import.meta.url, 'fold-again.lua');

/** Commands that are named. */
const NAMED_MAX = 10;

export interface RepairOptions {
  readonly redis: Redis;
  readonly keys: Keys;
  readonly partition: Partition;
  /** Where the head does not say what is left to do: fold the step again all the same. */
  readonly foldAgain: boolean;
  /** Where ids are missing: go on without them. */
  readonly forgetIds: boolean;
  readonly say: (line: string) => void;
}

/** Repairs the head and the ids of one partition, under its lease. True where all is as it should be, now or already. */
export async function repairPartition(options: RepairOptions): Promise<boolean> {
  const { redis, partition, say } = options;
  const keys = options.keys.partition(partition);
  const name = partitionName(partition);
  const isDirty = (await redis.hget(keys.head, 'dirty')) === '1';
  if (!isDirty) say(`${name}: its head is not dirty, there is nothing to repair`);
  else if (!(await underLease(redis, keys, name, (lease) => repairHead(options, keys, lease)))) return false;
  if ((await missingIds(redis, keys)).length === 0) return true;
  return underLease(redis, keys, name, () => repairIds(options, keys));
}

async function repairHead(
  { redis, partition, foldAgain, say }: RepairOptions,
  keys: PartitionKeys,
  lease: Lease,
): Promise<boolean> {
  const name = partitionName(partition);
  if (!lease.head.dirty) {
    say(`${name}: a worker has finished it meanwhile`);
    return true;
  }
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

/** Chunks of ids that the head names and Redis does not have. */
async function missingIds(redis: Redis, keys: PartitionKeys): Promise<readonly string[]> {
  const chunks = chunkKeys(keys, (await redis.hget(keys.head, 'ids')) ?? '');
  const missing: string[] = [];
  for (const chunk of chunks) if ((await redis.exists(chunk)) === 0) missing.push(chunk);
  return missing;
}

async function repairIds(
  { redis, partition, forgetIds, say }: RepairOptions,
  keys: PartitionKeys,
): Promise<boolean> {
  const missing = await missingIds(redis, keys);
  const name = partitionName(partition);
  say(
    `${name}: ids are missing from Redis, ${missing.length} chunks of up to ${CHUNK_IDS}: no worker goes on without`,
  );
  say('  (Redis evicted them, or a hand deleted them). Which messages they were of cannot be known.');
  if (!forgetIds) {
    say(
      '  --forget-ids goes on without: a message of those that comes again counts twice, for up to two windows of',
    );
    say('  ids. Or put the chunks back first.');
    return false;
  }
  for (const chunk of missing) await redis.setnx(chunk, '');
  say('  forgotten: a message of those that comes again counts twice');
  return true;
}
