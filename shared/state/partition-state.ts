import type { TripwireLimits } from '../messages/commands.js';
import type { Mode } from '../messages/events.js';

/** The partition's own document (`partition`): what belongs to no single user. Immutable for the fold. */
export interface PartitionState {
  /** Users this partition has seen: its share of the tripwire's population. */
  readonly users: number;
  readonly rules: Readonly<Record<string, RuleSettings>>;
  /** Rule in shadow mode → users it would have restricted since it went to shadow. */
  readonly shadow: Readonly<Record<string, number>>;
  /** Rule → what it threw here, ever: its own `matches`, `reset` or windows. Absent: nothing. */
  readonly errors?: Readonly<Record<string, RuleErrors>>;
  /** Ids of the last control messages applied, oldest first: healing sends what is missing. */
  readonly controls: readonly string[];
  /** Rollbacks under way: lifted in bounded steps, each its own commit. */
  readonly rollbacks: readonly Rollback[];
}

/** What control messages changed for one rule; absent fields mean the rule's own default. */
export interface RuleSettings {
  readonly mode?: Mode;
  /** Control id that set the mode: an older control message arriving later changes nothing. */
  readonly modeControl?: string;
  /** Control id that began the current stay in shadow mode; absent: the rule's own default did. */
  readonly shadowControl?: string;
  readonly limits?: TripwireLimits;
  readonly limitsControl?: string;
  /** Control id of the last re-arm: the era of the tripwire in which this partition decides. */
  readonly era?: string;
}

export interface RuleErrors {
  readonly count: number;
  /** What failed and why, in words. */
  readonly last: string;
  /** Of the last, ms. */
  readonly at: number;
}

export interface Rollback {
  readonly control: string;
  /** What asked for it: a rollback, or a mode change with `lift`. */
  readonly action: 'rollback' | 'mode';
  readonly rule: string;
  /** Restrictions from `since` to `until` (ms, both included) are lifted; later ones stay. */
  readonly since: number;
  readonly until: number;
  readonly lifted: number;
  readonly reply?: string;
}

export const NEW_PARTITION: PartitionState = { users: 0, rules: {}, shadow: {}, controls: [], rollbacks: [] };

/** How many controls the control log keeps. */
export const CONTROLS_MAX = 128;
/** How many control ids a partition remembers: more than the log keeps, also when one is applied late. */
export const CONTROLS_REMEMBERED_MAX = 2 * CONTROLS_MAX;

/** Orders control ids (stream ids, `<ms>-<n>`). */
export function isNewerControl(candidate: string, than: string | undefined): boolean {
  if (than === undefined) return true;
  const [a, b] = [candidate.split('-').map(Number), than.split('-').map(Number)];
  return a[0]! !== b[0]! ? a[0]! > b[0]! : (a[1] ?? 0) > (b[1] ?? 0);
}
