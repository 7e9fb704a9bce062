import type { Effect } from '../../shared/effects.js';
import type { Mode } from '../../shared/messages/events.js';
import type { PartitionState } from '../../shared/state/partition-state.js';
import type { UserState } from '../../shared/state/user-state.js';
import type { Catalog } from './compile-catalog.js';
import type { Rule } from './rule.js';
import { memberOf, type Subject } from './subject.js';

/** Answers to reservations by key. A key without an answer counts as granted, and is asked for. */
export type Answers = ReadonlyMap<string, boolean>;

/** What a fold is told besides the states. */
export interface Context extends Subject {
  readonly catalog: Catalog;
  readonly answers: Answers;
  /** Time of this fold, ms since the epoch. */
  readonly at: number;
  /** Id of the message that is folded; null for a timer. */
  readonly message: string | null;
}

/** May this rule newly restrict this user? Only the rule's tripwire knows. */
export interface RuleReservation {
  readonly key: string;
  readonly rule: string;
  /** The user: `<tenant>:<user id>`. */
  readonly subject: string;
  /** `at` of the fold that asks: how far decisions lag behind the tripwire's own clock. */
  readonly at: number;
}

export interface Folded {
  readonly user: UserState;
  readonly partition: PartitionState;
  readonly effects: readonly Effect[];
  readonly reservations: readonly RuleReservation[];
}

/** One fold under way: the states in it are replaced, never changed. Lives no longer than the fold. */
export interface Draft extends Folded {
  user: UserState;
  partition: PartitionState;
  readonly effects: Effect[];
  readonly reservations: RuleReservation[];
}

export function draftOf(user: UserState, partition: PartitionState): Draft {
  return { user, partition, effects: [], reservations: [] };
}

export function modeOf(partition: PartitionState, { name, mode }: Rule): Mode {
  return partition.rules[name]?.mode ?? mode;
}

/** The question is the same for the same rule and user, so that a batch asks it once. */
export function reservationKey(rule: string, subject: Subject): string {
  return `${rule}\0${subject.tenant}\0${subject.userId}`;
}

/** Name of the secondary index of the users that a rule restricts. */
export function restrictedIndex(rule: string): string {
  return `restricted:${rule}`;
}

/**
 * Name of the secondary index of the rules that have restricted users: `<feature>:<rule>`, by when they last did. It tells
 * of rules that the registry no longer has.
 */
export const RESTRICTING_INDEX = 'restricting';

/** What every outbox entry about a user says first. */
export function aboutUser(context: Context): {
  tenant: string;
  user: string;
  at: number;
  message: string | null;
} {
  const { tenant, userId, at, message } = context;
  return { tenant, user: userId, at, message };
}

export function reservationOf(rule: string, key: string, context: Context): RuleReservation {
  return { key, rule, subject: memberOf(context), at: context.at };
}
