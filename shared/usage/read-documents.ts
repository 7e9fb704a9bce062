import type { Redis } from 'ioredis';
import { Script } from '../redis/script.js';

const script = new Script(import.meta.url, 'read-documents.lua');

/**
 * The first of the documents, in order, up to and with the one that reaches `bytesMax`: at least one where any was asked
 * for. null in the place of one that does not exist.
 */
export async function readDocuments(
  redis: Redis,
  keys: readonly string[],
  bytesMax: number,
): Promise<(string | null)[]> {
  return (await script.run(redis, keys, [bytesMax])) as (string | null)[];
}
