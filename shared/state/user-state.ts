import type { Feature } from '../messages/events.js';

/**
 * The decision state of one user: the document `user:<tenant>:<user id>`.
 *
 * The fold treats it as immutable. In Redis it is compact JSON with defaults left out (`encodeUser`), version
 * field `v` first.
 */
export interface UserState {
  /** An event about this user was folded: the user counts in the tripwire's population. */
  readonly known: boolean;
  readonly profile: Profile;
  /** Sliding windows that rules declared: `<rule>.<window>` → entries, oldest first. */
  readonly windows: Readonly<Record<string, readonly WindowEntry[]>>;
  /** Rule → ids of the last few events it names as evidence, since it was last lifted; oldest first. */
  readonly recent: Readonly<Record<string, readonly string[]>>;
  readonly restrictions: readonly Restriction[];
  readonly overrides: readonly Override[];
  /**
   * Rule that matched in shadow mode → the control id that began that stay in shadow (empty: the rule's own
   * default), so that a user counts once in each stay.
   */
  readonly shadow: Readonly<Record<string, string>>;
}

export interface Profile {
  readonly scamFlags: number;
  /** Distinct cards with the zip code each was last added with; at most CARDS_MAX. */
  readonly cards: readonly (readonly [cardId: string, zipCode: string])[];
  /** In 1/10,000 of a unit, so that sums are exact. */
  readonly spend: bigint;
  readonly chargebacks: bigint;
}

/** When (ms) and, in a window that counts distinct values, which value. */
export type WindowEntry = readonly [atMs: number, value: string];

/** What a rule did. Manual restrictions are overrides with `allow: false`. */
export interface Restriction {
  readonly rule: string;
  readonly version: number;
  readonly feature: Feature;
  readonly reason: string;
  readonly evidence: readonly string[];
  /** ms since the epoch. */
  readonly restrictedAt: number;
  readonly expiresAt: number | null;
}

export interface Override {
  readonly feature: Feature;
  readonly allow: boolean;
  readonly reason: string;
  readonly actor: string;
  readonly setAt: number;
  readonly expiresAt: number | null;
}

export const NEW_USER: UserState = {
  known: false,
  profile: { scamFlags: 0, cards: [], spend: 0n, chargebacks: 0n },
  windows: {},
  recent: {},
  restrictions: [],
  overrides: [],
  shadow: {},
};

/** How many 1/10,000 units make one. */
export const AMOUNT_SCALE = 10_000n;

/** Whether its time is over, at `at` (ms): folded or not, it no longer holds. */
export function hasEnded({ expiresAt }: Pick<Restriction | Override, 'expiresAt'>, at: number): boolean {
  return expiresAt !== null && expiresAt <= at;
}

/**
 * A manual override beats every rule. Pure; the same answer for the API and the worker.
 * @param at ms: what has ended by then decides nothing. Absent: nothing has ended
 */
export function isDenied(user: UserState, feature: Feature, at = Number.NEGATIVE_INFINITY): boolean {
  const holds = (each: Restriction | Override) => each.feature === feature && !hasEnded(each, at);
  const override = user.overrides.find(holds);
  return override === undefined ? user.restrictions.some(holds) : !override.allow;
}
