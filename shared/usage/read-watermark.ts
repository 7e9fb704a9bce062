import type { Redis } from 'ioredis';
import type { PartitionKeys } from '../keys.js';
import { Script } from '../redis/script.js';

const script = new Script(import.meta.url, 'read-watermark.lua');

/** Times in ms since the epoch. */
export interface Watermark {
  /** Redis' own clock at the moment of the read. */
  readonly asOfMs: number;
  /** What is read after this holds everything that was accepted up to this time. */
  readonly watermarkMs: number;
}

/**
 * How far a partition has come. To be read BEFORE the documents it speaks of: they can only be newer.
 *
 * Where nothing waits, all that was accepted so far is folded, and the watermark is the present. Else it is the
 * millisecond before the first entry that waits: one millisecond may hold more messages than a step folds, and an
 * entry may be folded in part. The entry's own id says it, not the head's `at`, which is ahead of the entries after
 * Redis' clock was set back (partition time never goes back). `at` stands in where no entry is found although the
 * counters say that one waits.
 */
export async function readWatermark(redis: Redis, keys: PartitionKeys): Promise<Watermark> {
  const reply = await script.run(redis, [keys.head, keys.appended, keys.stream], []);
  const [asOfMs, at, appended, folded, first] = reply as [number, number, number, number, string | null];
  if (folded >= appended) return { asOfMs, watermarkMs: asOfMs };
  const complete = (first === null ? at : Number.parseInt(first, 10)) - 1;
  return { asOfMs, watermarkMs: Math.max(0, Math.min(complete, asOfMs)) };
}
