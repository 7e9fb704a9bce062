import type { Redis } from 'ioredis';
import type { Keys } from '../keys.js';
import { Script } from '../redis/script.js';

const script = new Script(import.meta.url, 'tripwire-clear-window.lua');

/**
 * After a rollback: the users reserved up to `until` (Redis time, ms) are no longer restricted and count no more.
 * A tripped wire stays tripped.
 *
 * @returns how many users were forgotten
 */
export async function clearTripwireWindow(
  redis: Redis,
  keys: Keys,
  rule: string,
  until: number,
): Promise<number> {
  return (await script.run(redis, [keys.tripwire(rule).reserved], [until])) as number;
}
