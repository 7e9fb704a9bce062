import type { Redis } from 'ioredis';
import type { PartitionKeys } from '../../shared/keys.js';
import { Script } from '../../shared/redis/script.js';

const script = new Script(import.meta.url, 'housekeep.lua');

/** What the owner sees of its partition once per heartbeat. */
export interface PartitionSight {
  readonly redisTimeMs: number;
  /** Number of commits, as the head has it. */
  readonly seq: number;
  readonly backlogMessages: number;
  /** Age of the oldest entry that is not folded; 0 when there is none. */
  readonly oldestAgeMs: number;
  readonly outboxEntries: number;
  /** About how much memory they take. */
  readonly outboxBytes: number;
  readonly deadLetters: number;
}

/** Whom trimming waits for. */
export interface SinkPosition {
  readonly name: string;
  readonly readsStream: boolean;
}

/** Trims the stream up to the head's position and looks at the partition; undefined when the lease is not ours. */
export async function housekeep(
  redis: Redis,
  keys: PartitionKeys,
  lease: string,
  sinks: readonly SinkPosition[],
): Promise<PartitionSight | undefined> {
  const reply = (await script.run(
    redis,
    [keys.lease, keys.stream, keys.appended, keys.head, keys.outbox, keys.dead, keys.sinks],
    [lease, ...sinks.flatMap(({ name, readsStream }) => [name, readsStream ? 1 : 0])],
  )) as [0] | [1, number, number, number, number, number, number, string | null, number];
  if (reply[0] === 0) return undefined;
  const [, redisTimeMs, seq, appended, folded, outboxEntries, deadLetters, first, outboxBytes] = reply;
  return {
    redisTimeMs,
    seq,
    backlogMessages: Math.max(0, appended - folded),
    oldestAgeMs: first === null ? 0 : Math.max(0, redisTimeMs - Number.parseInt(first, 10)),
    outboxEntries,
    outboxBytes,
    deadLetters,
  };
}
