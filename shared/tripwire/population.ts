import type { Redis } from 'ioredis';
import { type Keys, PARTITION_DOCUMENT } from '../keys.js';
import type { Topic } from '../topics.js';

/**
 * Known users of all partitions of a topic but one, as committed: one GET each, all sent at once. Only the number
 * is read, so that a document of a newer version does no harm.
 *
 * @param except index of the partition to leave out (its owner knows better); -1 for none
 */
export async function populationOf(
  redis: Redis,
  keys: Keys,
  topic: Topic,
  partitions: number,
  except = -1,
): Promise<number> {
  const indexes = Array.from({ length: partitions }, (_, index) => index).filter((index) => index !== except);
  const texts = await Promise.all(
    indexes.map((index) => redis.get(keys.partition({ topic, index }).doc(PARTITION_DOCUMENT))),
  );
  return texts.reduce((sum, text) => sum + (text === null ? 0 : usersIn(text)), 0);
}

function usersIn(text: string): number {
  return (JSON.parse(text) as { users?: number }).users ?? 0;
}
