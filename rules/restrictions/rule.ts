import type { TripwireLimits } from '../../shared/messages/commands.js';
import type { EventData, EventName, Feature, Mode } from '../../shared/messages/events.js';
import type { Profile } from '../../shared/state/user-state.js';

/**
 * One restriction rule: data and two pure functions. It sees one user at one moment and says whether that user
 * may still use one feature. It is asked again at every event of the user (level-triggered), so it describes a
 * state ("has two flags or more"), never a change ("just got the second flag").
 */
export interface Rule {
  /** Unique, `[a-z][a-z0-9_]{0,63}`. Kept in restrictions and settings: never reuse the name of another rule. */
  readonly name: string;
  /** 1 or more; raise it when the rule decides differently, so that old restrictions tell which one it was. */
  readonly version: number;
  readonly feature: Feature;
  /** Mode until somebody sets another one. */
  readonly mode: Mode;
  readonly description: string;
  /** Kinds of events that explain a restriction: the ids of the last 5 of them are kept with it. */
  readonly evidence: readonly EventName[];
  /** Sliding windows of the rule's own, by name. */
  readonly windows?: Readonly<Record<string, WindowSpec>>;
  /** The reason why the user is to be restricted, for people to read; null: not restricted by this rule. */
  matches(facts: RuleFacts): string | null;
  /**
   * What lifting a restriction of this rule sets back in the profile: exactly what made it match, so that the
   * next event does not restrict the user again. No counter may be higher than it was. The rule's own windows are
   * always cleared.
   */
  reset?(profile: Profile): Profile;
  /** The restriction ends by itself after this many seconds. Absent: never. */
  readonly expiresAfterSeconds?: number;
  /** Limits of this rule's tripwire that differ from the configured defaults. */
  readonly tripwire?: Partial<TripwireLimits>;
}

/** What a rule may look at: the user, as of now, with the event that is being folded. */
export interface RuleFacts {
  readonly profile: Profile;
  /** ms since the epoch. */
  readonly at: number;
  /** Events in a window declared without `distinct`. @throws for any other name. */
  count(window: string): number;
  /** Distinct values in a window declared with `distinct`. @throws for any other name. */
  distinct(window: string): number;
}

/**
 * A sliding window over the last `seconds` of one kind of event. An entry is in it while `at - entry < seconds`.
 * A value that comes again keeps only its latest time. The newest `entriesMax` entries are kept (default 256), so
 * that a count is exact up to `entriesMax` and stays there above: compare with numbers no larger than it.
 */
export type WindowSpec = { readonly [Name in EventName]: WindowOver<Name> }[EventName];

interface WindowOver<Name extends EventName> {
  readonly event: Name;
  readonly seconds: number;
  /** Count the distinct values of this property instead of the events. */
  readonly distinct?: keyof EventData[Name] & string;
  readonly entriesMax?: number;
}

export const WINDOW_ENTRIES_DEFAULT = 256;
export const WINDOW_ENTRIES_MAX = 1024;
