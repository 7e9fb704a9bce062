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
 * Where nothing waits, all that was accepted so far is folded, and the watermark is the present; else it is the
 * time of the last input folded. 0 while a new partition has not folded its first message.
 */
export async function readWatermark(redis: Redis, keys: PartitionKeys): Promise<Watermark> {
  const reply = await script.run(redis, [keys.head, keys.appended], []);
  const [asOfMs, at, appended, folded] = reply as [number, number, number, number];
  return { asOfMs, watermarkMs: folded >= appended ? asOfMs : Math.min(at, asOfMs) };
}
