import type { Redis } from 'ioredis';
import type { PartitionKeys } from '../../shared/keys.js';
import { Script } from '../../shared/redis/script.js';
import type { WaitsFor } from '../../shared/waits-for.js';

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
  /** What was counted as waiting although nothing waited, and is not any more: messages for the fold, bytes for the archive. */
  readonly stray: { readonly messages: number; readonly bytes: number };
}

/** Whom trimming waits for. */
export interface SinkPosition {
  readonly name: string;
  readonly readsStream: boolean;
}

/** Trims the stream up to the head's position, notes why the partition waits, and looks at it; undefined when the lease is not ours. */
export async function housekeep(
  redis: Redis,
  keys: PartitionKeys,
  lease: string,
  sinks: readonly SinkPosition[],
  waitsFor: WaitsFor | undefined,
): Promise<PartitionSight | undefined> {
  const reply = (await script.run(
    redis,
    [keys.lease, keys.stream, keys.appended, keys.head, keys.outbox, keys.dead, keys.sinks, keys.bytes],
    [lease, waitsFor ?? '', ...sinks.flatMap(({ name, readsStream }) => [name, readsStream ? 1 : 0])],
  )) as [0] | [1, number, number, number, number, number, number, string | null, number, number, number];
  if (reply[0] === 0) return undefined;
  const [, redisTimeMs, seq, appended, folded, outboxEntries, deadLetters, first, outboxBytes] = reply;
  const [messages, bytes] = reply.slice(-2) as [number, number];
  return {
    redisTimeMs,
    seq,
    backlogMessages: Math.max(0, appended - folded),
    oldestAgeMs: first === null ? 0 : Math.max(0, redisTimeMs - Number.parseInt(first, 10)),
    outboxEntries,
    outboxBytes,
    deadLetters,
    stray: { messages, bytes },
  };
}
