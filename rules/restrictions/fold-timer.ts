import type { Feature } from '../../shared/messages/events.js';
import type { PartitionState } from '../../shared/state/partition-state.js';
import { hasEnded, type UserState } from '../../shared/state/user-state.js';
import { type Context, draftOf, type Folded } from './draft.js';
import { overrideOf, removeOverride } from './fold-override.js';
import { lift } from './lift.js';

/** A restriction ends by itself. A timer that is stale - the restriction is gone, or newer - changes nothing. */
export function foldExpiry(
  user: UserState,
  partition: PartitionState,
  rule: string,
  dueAt: number,
  context: Context,
): Folded {
  const draft = draftOf(user, partition);
  const restriction = user.restrictions.find((candidate) => candidate.rule === rule);
  if (restriction !== undefined && hasEnded(restriction, dueAt)) {
    lift(draft, restriction, { cause: 'expired' }, context);
  }
  return draft;
}

/** An override ends by itself; the rules decide again at once. A stale timer changes nothing. */
export function foldOverrideExpiry(
  user: UserState,
  partition: PartitionState,
  feature: Feature,
  dueAt: number,
  context: Context,
): Folded {
  const draft = draftOf(user, partition);
  const override = overrideOf(user, feature);
  if (override !== undefined && hasEnded(override, dueAt))
    removeOverride(draft, override, 'expired', context);
  return draft;
}
