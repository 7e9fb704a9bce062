import type { Redis } from 'ioredis';
import type { Keys } from '../keys.js';
import { Script } from '../redis/script.js';

const script = new Script(import.meta.url, 'tripwire-rearm.lua');

/**
 * Begins a new era of the rule's tripwire: empty window, not tripped. Partitions that have not folded the re-arm's
 * control message yet stay denied if the era before had tripped. Asking twice changes nothing.
 *
 * @param control id of the re-arm's control message: the era
 * @returns false where the wire is in this era, or a newer one, already
 */
export async function rearmTripwire(
  redis: Redis,
  keys: Keys,
  rule: string,
  control: string,
): Promise<boolean> {
  const { wire, reserved } = keys.tripwire(rule);
  return (await script.run(redis, [wire, reserved], [control])) === 1;
}
