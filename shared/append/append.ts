import type { Redis } from 'ioredis';
import { ARCHIVE, type PartitionKeys } from '../keys.js';
import { recordBatchVersion } from '../messages/record-batch.js';
import { type RedisArgument, Script } from '../redis/script.js';

const script = new Script(import.meta.url, 'append.lua');

export interface AppendResult {
  /** How many of the batches are in the stream: the first ones. */
  readonly appended: number;
  /** Why the others are not. */
  readonly full?: Full;
}

export type Full =
  /** `backlog` messages wait for a worker. */
  | { readonly reason: 'backlog'; readonly backlog: number }
  /** `bytes` wait for the archive. */
  | { readonly reason: 'archive'; readonly bytes: number };

/** Bounds of a partition; 0: none. */
export interface AppendBounds {
  readonly backlogMax: number;
  /** Bytes that the archive does not have; matters only where the topic is archived. */
  readonly archiveBytesMax: number;
}

/** For control messages, which must get through. */
export const UNBOUNDED: AppendBounds = { backlogMax: 0, archiveBytesMax: 0 };

/**
 * Appends record batches of already serialised messages (each at most RECORD_BATCH_MESSAGES_MAX and
 * RECORD_BATCH_BYTES_MAX; the caller splits), in order, in one step. In the stream when it returns.
 *
 * @throws what the driver throws; then nobody knows whether it was appended, and message ids make a retry safe
 */
export async function append(
  redis: Redis,
  keys: PartitionKeys,
  batches: readonly (readonly string[])[],
  { backlogMax, archiveBytesMax }: AppendBounds,
): Promise<AppendResult> {
  const bytesBound = keys.archived ? archiveBytesMax : -1;
  const version = Math.max(...batches.map(recordBatchVersion));
  const args: RedisArgument[] = [version, backlogMax, bytesBound, ARCHIVE];
  for (const messages of batches) args.push(messages.length, `[${messages.join(',')}]`);
  const reply = (await script.run(
    redis,
    [keys.stream, keys.appended, keys.head, keys.bytes, keys.sinks],
    args,
  )) as [number] | [number, number, 'backlog' | 'archive'];
  const [appended, waiting, reason] = reply;
  if (waiting === undefined) return { appended };
  const full: Full =
    reason === 'archive' ? { reason, bytes: waiting } : { reason: 'backlog', backlog: waiting };
  return { appended, full };
}
