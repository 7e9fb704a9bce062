import type { Redis } from 'ioredis';
import type { Keys } from '../keys.js';
import { Script } from '../redis/script.js';

const script = new Script(import.meta.url, 'tripwire-status.lua');

export interface TripwireStatus {
  readonly state: 'armed' | 'tripped';
  /** Users newly restricted in the window; while tripped, the figure at the trip. */
  readonly affected: number;
  /** Known users at the trip; null while armed. */
  readonly populationAtTrip: number | null;
  /** Redis time of the trip, ms; null while armed. */
  readonly trippedAt: number | null;
  /** Control id of the last re-arm; empty before the first. */
  readonly era: string;
  /** Redis time of this answer, ms. */
  readonly now: number;
  /**
   * Since when a rollback has to lift (ms, compared with `restrictedAt`): the beginning of the window - of the
   * frozen one while tripped - less the lag of the decisions in it, which carry the time of their event.
   */
  readonly rollbackSince: number;
}

/** How the rule's tripwire stands now. Writes nothing. */
export async function tripwireStatus(
  redis: Redis,
  keys: Keys,
  rule: string,
  windowSeconds: number,
): Promise<TripwireStatus> {
  const { wire, reserved } = keys.tripwire(rule);
  const windowMs = Math.round(windowSeconds * 1000);
  const [now, inWindow, era, lagMs, trippedAt, affected, population] = (await script.run(
    redis,
    [wire, reserved],
    [windowMs],
  )) as [number, number, string, string, string, string, string];
  const isTripped = trippedAt !== '';
  return {
    state: isTripped ? 'tripped' : 'armed',
    affected: isTripped ? Number(affected) : inWindow,
    populationAtTrip: isTripped ? Number(population) : null,
    trippedAt: isTripped ? Number(trippedAt) : null,
    era,
    now,
    rollbackSince: (isTripped ? Number(trippedAt) : now) - windowMs - Number(lagMs),
  };
}
