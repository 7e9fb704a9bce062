import type { TripwireLimits } from '../shared/messages/commands.js';
import { isNewerControl } from '../shared/state/partition-state.js';

/**
 * The tripwire of one rule: how many users the rule may newly restrict before a person has to look.
 *
 *            a reservation reaches or would exceed the limit
 *   armed ───────────────────────────────────────────────────▶ tripped (window frozen)
 *     ▲                                                          │
 *     └────────────── re-arm: new era, empty window ◀────────────┘
 *
 * This is the model: what consumer/tripwire/reserve.lua and shared/tripwire/*.lua do in Redis, in words that can be
 * tested and read. A property test holds the two together.
 */
export interface Wire {
  /** Control id of the last re-arm; empty before the first. */
  readonly era: string;
  /** The era before this one had tripped: its late questions are denied. */
  readonly previousTripped: boolean;
  readonly tripped: Trip | null;
  /** Newly restricted users and when (ms), in the window; while tripped, those of the moment of the trip. */
  readonly reserved: ReadonlyMap<string, number>;
  /** By how much decisions lagged behind the wire's clock at worst, since the window was last empty (ms). */
  readonly lagMs: number;
}

export interface Trip {
  readonly at: number;
  readonly affected: number;
  readonly population: number;
}

export interface WireRequest {
  /** Era in which the asking partition decides. */
  readonly era: string;
  /** Users, in order. The same user twice is one user. */
  readonly users: readonly string[];
  /** Known users, of all partitions, as far as they have committed. */
  readonly population: number;
  readonly limits: TripwireLimits;
  /** The wire's clock, ms. */
  readonly now: number;
  /** Earliest `at` of the decisions that ask, ms. */
  readonly decidedAt: number;
}

export interface WireAnswer {
  readonly wire: Wire;
  /** Per user of the request: may the rule restrict it? */
  readonly granted: readonly boolean[];
  /** This request tripped the wire. */
  readonly trips: boolean;
  readonly affected: number;
}

export const NEW_WIRE: Wire = {
  era: '',
  previousTripped: false,
  tripped: null,
  reserved: new Map(),
  lagMs: 0,
};

/** Shares are compared in parts per million, as integers: no rounding error up to nine billion users. */
const SHARE_PARTS = 1_000_000;

export function sharePpm(maxShare: number): number {
  return Math.max(1, Math.round(maxShare * SHARE_PARTS));
}

/** Limits of one rule: the configured defaults, what the rule itself changes, what a control message set last. */
export function tripwireLimits(
  defaults: TripwireLimits,
  rule: Partial<TripwireLimits> | undefined,
  settings: TripwireLimits | undefined,
): TripwireLimits {
  return { ...defaults, ...rule, ...settings };
}

/** Newly restricted users per known user; 0 where nobody is known. */
export function share(affected: number, population: number): number {
  return population === 0 ? 0 : affected / population;
}

/**
 * Asks for each user in order. A user reserved already is granted and not counted again, so that asking twice is
 * harmless. Never more users than the limit are granted; the one that reaches it is, and trips the wire.
 *
 * Whoever is reserved is known, also while the partition that asked has not committed: else partitions that all meet
 * their first users at the same moment would each believe to be below `min_population`.
 */
export function reserve(before: Wire, request: WireRequest): WireAnswer {
  const { era, users, population, limits, now, decidedAt } = request;
  let wire = isNewerControl(era, before.era) ? rearm(before, era) : before;
  const isLate = isNewerControl(wire.era, era) && wire.previousTripped;
  const reserved = new Map(wire.tripped === null ? inWindow(wire.reserved, limits, now) : wire.reserved);
  let lagMs = reserved.size === 0 && wire.tripped === null ? 0 : wire.lagMs;
  let tripped = wire.tripped;
  const granted = users.map((user) => {
    if (reserved.has(user)) return true;
    if (tripped !== null || isLate) return false;
    const known = Math.max(population, reserved.size + 1);
    const guarded = known >= limits.min_population;
    const fits = !guarded || !exceeds(reserved.size + 1, known, limits);
    if (fits) {
      reserved.set(user, now);
      lagMs = Math.max(lagMs, now - decidedAt);
    }
    if (guarded && (!fits || reaches(reserved.size, known, limits))) {
      tripped = { at: now, affected: reserved.size, population: known };
    }
    return fits;
  });
  const trips = tripped !== wire.tripped;
  wire = { ...wire, tripped, reserved, lagMs };
  return { wire, granted, trips, affected: reserved.size };
}

/** Begins a new era: empty window, not tripped. A control id that is not newer than the wire's era does nothing. */
export function rearm(wire: Wire, control: string): Wire {
  if (!isNewerControl(control, wire.era)) return wire;
  return { ...NEW_WIRE, era: control, previousTripped: wire.tripped !== null };
}

/** After a rollback: what was reserved up to `until` (ms) is no longer restricted. A tripped wire stays tripped. */
export function clearWindow(wire: Wire, until: number): Wire {
  return { ...wire, reserved: new Map([...wire.reserved].filter(([, at]) => at > until)) };
}

/** Users in the window; while tripped, the figure at the trip. */
export function affected(wire: Wire, limits: TripwireLimits, now: number): number {
  return wire.tripped?.affected ?? inWindow(wire.reserved, limits, now).length;
}

function inWindow(
  reserved: ReadonlyMap<string, number>,
  limits: TripwireLimits,
  now: number,
): (readonly [string, number])[] {
  return [...reserved].filter(([, at]) => now - at < limits.window_seconds * 1000);
}

function exceeds(users: number, population: number, { max_share, max_users }: TripwireLimits): boolean {
  return users * SHARE_PARTS > sharePpm(max_share) * population || (max_users !== null && users > max_users);
}

function reaches(users: number, population: number, { max_share, max_users }: TripwireLimits): boolean {
  return (
    users * SHARE_PARTS >= sharePpm(max_share) * population || (max_users !== null && users >= max_users)
  );
}
