import type { Redis } from 'ioredis';
import type { PartitionKeys } from '../keys.js';
import { RECORD_BATCH_VERSION } from '../messages/record-batch.js';
import { Script } from '../redis/script.js';

const script = new Script(import.meta.url, 'append.lua');

export type AppendResult =
  | { readonly kind: 'appended'; readonly entryId: string }
  /** No room for all of them; `backlog` messages wait. Nothing was written. */
  | { readonly kind: 'full'; readonly backlog: number };

/**
 * Appends one record batch of already serialised messages (at most RECORD_BATCH_MESSAGES_MAX and
 * RECORD_BATCH_BYTES_MAX; the caller splits). In the stream when it returns.
 *
 * @param backlogMax bound on the partition's backlog in messages; 0 for control messages, which must get through
 * @throws what the driver throws; then nobody knows whether it was appended, and message ids make a retry safe
 */
export async function append(
  redis: Redis,
  keys: PartitionKeys,
  messages: readonly string[],
  backlogMax: number,
): Promise<AppendResult> {
  const reply = (await script.run(
    redis,
    [keys.stream, keys.appended, keys.head],
    [RECORD_BATCH_VERSION, messages.length, `[${messages.join(',')}]`, backlogMax],
  )) as [string | null, number];
  return reply[0] === null ? { kind: 'full', backlog: reply[1] } : { kind: 'appended', entryId: reply[0] };
}
