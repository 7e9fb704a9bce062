import type { OverrideDelete, OverridePut } from '../../shared/messages/commands.js';
import { FEATURES, type Feature } from '../../shared/messages/events.js';
import type { Message } from '../../shared/messages/message.js';
import type { PartitionState } from '../../shared/state/partition-state.js';
import type { Override, UserState } from '../../shared/state/user-state.js';
import { aboutUser, type Context, type Draft, draftOf, type Folded } from './draft.js';
import { evaluate } from './evaluate.js';
import { lift } from './lift.js';
import { overrideTimer } from './timer-id.js';

/**
 * A person decides about one feature of one user; it stands above every rule until it is deleted or expires.
 * `allow: true` also lifts what rules restricted, with the counters that caused it.
 */
export function foldOverridePut(
  user: UserState,
  partition: PartitionState,
  message: Message,
  context: Context,
): Folded {
  const { feature, allow, reason, actor, expiresAt } = parsePut(message.data);
  const draft = draftOf(user, partition);
  if (allow) {
    for (const restriction of user.restrictions) {
      if (restriction.feature === feature)
        lift(draft, restriction, { cause: 'override', reason, actor }, context);
    }
  }
  const replaced = overrideOf(user, feature);
  const override: Override = { feature, allow, reason, actor, setAt: context.at, expiresAt };
  draft.user = { ...draft.user, overrides: [...othersThan(user, feature), override] };
  const timer = overrideTimer(feature, context);
  if (expiresAt !== null) draft.effects.push({ kind: 'timer', id: timer, dueAt: expiresAt });
  else if (replaced !== undefined && replaced.expiresAt !== null) {
    draft.effects.push({ kind: 'cancel_timer', id: timer });
  }
  draft.effects.push({
    kind: 'emit',
    type: 'override_set',
    body: { ...aboutUser(context), feature, allow, reason, actor, expires_at: expiresAt },
  });
  answer(draft, message, { applied: true });
  return draft;
}

/** Deletes an override; the rules decide again at once. Replies whether there was one. */
export function foldOverrideDelete(
  user: UserState,
  partition: PartitionState,
  message: Message,
  context: Context,
): Folded {
  const feature = featureOf((message.data as Partial<OverrideDelete> | null)?.feature);
  const draft = draftOf(user, partition);
  const override = overrideOf(user, feature);
  if (override !== undefined) {
    if (override.expiresAt !== null) {
      draft.effects.push({ kind: 'cancel_timer', id: overrideTimer(feature, context) });
    }
    removeOverride(draft, override, 'deleted', context);
  }
  answer(draft, message, { existed: override !== undefined });
  return draft;
}

export function removeOverride(
  draft: Draft,
  { feature, allow }: Override,
  cause: 'deleted' | 'expired',
  context: Context,
): void {
  draft.user = { ...draft.user, overrides: othersThan(draft.user, feature) };
  draft.effects.push({
    kind: 'emit',
    type: 'override_removed',
    body: { ...aboutUser(context), feature, allow, cause },
  });
  // Rules decide about users that events told of; of others nothing is known that a rule could mean.
  if (draft.user.known) evaluate(draft, context);
}

export function overrideOf(user: UserState, feature: Feature): Override | undefined {
  return user.overrides.find((override) => override.feature === feature);
}

function othersThan(user: UserState, feature: Feature): readonly Override[] {
  return user.overrides.filter((override) => override.feature !== feature);
}

function answer(draft: Draft, { reply }: Message, body: object): void {
  if (reply !== undefined) draft.effects.push({ kind: 'reply', to: reply, body });
}

function featureOf(value: unknown): Feature {
  const feature = FEATURES.find((known) => known === value);
  if (feature === undefined) throw new Error('the override names no known feature');
  return feature;
}

function parsePut(data: unknown): Omit<Override, 'setAt'> {
  const {
    feature,
    allow,
    reason,
    actor,
    expires_at: expiresAt = null,
  } = (data ?? {}) as Partial<OverridePut>;
  if (typeof allow !== 'boolean') throw new Error('allow is not a boolean');
  if (typeof reason !== 'string') throw new Error('reason is not a string');
  if (typeof actor !== 'string') throw new Error('actor is not a string');
  if (expiresAt !== null && !Number.isFinite(expiresAt)) throw new Error('expires_at is not a time');
  return { feature: featureOf(feature), allow, reason, actor, expiresAt };
}
