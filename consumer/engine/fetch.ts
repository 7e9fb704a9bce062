import type { Redis } from 'ioredis';
import { GROUP, type PartitionKeys } from '../../shared/keys.js';
import type { RawEntry } from '../../shared/messages/record-batch.js';
import { Script } from '../../shared/redis/script.js';

const script = new Script(import.meta.url, 'fetch.lua');

/** Bounds of one fetch. It overshoots by at most one read of `ENTRIES_PER_READ` entries. */
const FETCH_BYTES_MAX = 4 * 1024 * 1024;
const ENTRIES_PER_READ = 64;
/** One name for every owner: there is no pending list, and names would pile up in the group. */
const CONSUMER = 'owner';

export type FetchResult =
  | { readonly kind: 'fetched'; readonly redisTimeMs: number; readonly entries: readonly RawEntry[] }
  | { readonly kind: 'fenced' };

/** What comes after `from`, about `messages` messages of it. */
export async function fetchEntries(
  redis: Redis,
  keys: PartitionKeys,
  lease: string,
  from: string,
  messages: number,
): Promise<FetchResult> {
  const reply = (await script.run(
    redis,
    [keys.stream, keys.lease],
    [lease, GROUP, CONSUMER, from, messages, FETCH_BYTES_MAX, ENTRIES_PER_READ],
  )) as [0] | [1, number, string[]];
  return reply[0] === 0
    ? { kind: 'fenced' }
    : { kind: 'fetched', redisTimeMs: reply[1], entries: readEntries(reply[2]) };
}

/** See fetch.lua for the two forms. */
function readEntries(flat: readonly string[]): RawEntry[] {
  const entries: RawEntry[] = [];
  for (let i = 0; i < flat.length; i += 2) {
    const id = flat[i]!;
    const text = flat[i + 1]!;
    entries.push(id.startsWith('!') ? [id.slice(1), JSON.parse(text) as string[]] : [id, text]);
  }
  return entries;
}
