import type { Effect } from '../../shared/effects.js';
import type { PartitionState, Rollback } from '../../shared/state/partition-state.js';
import { NEW_USER, type UserState } from '../../shared/state/user-state.js';
import type { Catalog } from './compile-catalog.js';
import { type Context, draftOf, restrictedIndex } from './draft.js';
import { lift } from './lift.js';
import { subjectOf } from './subject.js';
import { rollbackTimer } from './timer-id.js';

/** Users one step of a rollback handles: what one commit may weigh. */
export const ROLLBACK_STEP_MAX = 500;

export interface FoldedRollback {
  readonly partition: PartitionState;
  readonly users: readonly (readonly [member: string, user: UserState])[];
  readonly effects: readonly Effect[];
}

export function rollbackOf(partition: PartitionState, control: string): Rollback | undefined {
  return partition.rollbacks.find((rollback) => rollback.control === control);
}

/**
 * One step of a rollback:
 *
 *   control message → timer → step → timer → step → … → reply
 *
 * `members` are the lowest ROLLBACK_STEP_MAX members of the rule's index from `since` on, with their states. Each
 * is lifted, or unindexed if the index is wrong about it, so the next step finds others: it ends. Fewer than
 * ROLLBACK_STEP_MAX members, or one restricted after the rollback was asked for (the index is in order of time, so
 * all behind it are later too), end it.
 */
export function foldRollback(
  partition: PartitionState,
  control: string,
  members: readonly (readonly [member: string, user: UserState | null])[],
  catalog: Catalog,
  at: number,
): FoldedRollback {
  const rollback = rollbackOf(partition, control);
  if (rollback === undefined) return { partition, users: [], effects: [] };
  const step = liftMembers(rollback, members, partition, catalog, at);
  const lifted = rollback.lifted + step.users.length;
  if (members.length === ROLLBACK_STEP_MAX && !step.reachedLater) {
    const rollbacks = step.partition.rollbacks.map((other) =>
      other === rollback ? { ...rollback, lifted } : other,
    );
    const again: Effect = { kind: 'timer', id: rollbackTimer(control), dueAt: at };
    return {
      partition: { ...step.partition, rollbacks },
      users: step.users,
      effects: [...step.effects, again],
    };
  }
  const body = rollback.action === 'mode' ? { applied: true, lifted } : { lifted };
  const reply: readonly Effect[] =
    rollback.reply === undefined ? [] : [{ kind: 'reply', to: rollback.reply, body }];
  return {
    partition: {
      ...step.partition,
      rollbacks: step.partition.rollbacks.filter((other) => other !== rollback),
    },
    users: step.users,
    effects: [...step.effects, ...reply],
  };
}

function liftMembers(
  { action, control, rule, until }: Rollback,
  members: readonly (readonly [member: string, user: UserState | null])[],
  before: PartitionState,
  catalog: Catalog,
  at: number,
): FoldedRollback & { readonly reachedLater: boolean } {
  let partition = before;
  const users: [string, UserState][] = [];
  const effects: Effect[] = [];
  for (const [member, state] of members) {
    const user = state ?? NEW_USER;
    const restriction = user.restrictions.find((candidate) => candidate.rule === rule);
    if (restriction === undefined) {
      effects.push({ kind: 'unindex', index: restrictedIndex(rule), member });
      continue;
    }
    if (restriction.restrictedAt > until) return { partition, users, effects, reachedLater: true };
    const context: Context = { ...subjectOf(member), catalog, answers: new Map(), at, message: null };
    const draft = draftOf(user, partition);
    lift(draft, restriction, { cause: action, control }, context);
    partition = draft.partition;
    users.push([member, draft.user]);
    effects.push(...draft.effects);
  }
  return { partition, users, effects, reachedLater: false };
}
