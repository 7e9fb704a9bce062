import type { Restriction, UserState } from '../../shared/state/user-state.js';
import type { CompiledRule } from './compile-catalog.js';
import { aboutUser, type Context, type Draft, restrictedIndex } from './draft.js';
import { memberOf } from './subject.js';
import { expireTimer } from './timer-id.js';

/** Why a restriction ended, as the audit log tells it. */
export type LiftCause =
  | { readonly cause: 'expired' }
  | { readonly cause: 'override'; readonly reason: string; readonly actor: string }
  | { readonly cause: 'rollback' | 'mode'; readonly control: string };

/**
 * Ends one restriction and sets back exactly the counters that caused it: what the rule resets in the profile, the
 * rule's windows, and its evidence. A rule that no longer exists leaves nothing to set back.
 */
export function lift(draft: Draft, restriction: Restriction, why: LiftCause, context: Context): void {
  const { rule, version, feature, restrictedAt, expiresAt } = restriction;
  const { user, effects } = draft;
  const left = { ...user, restrictions: user.restrictions.filter((other) => other !== restriction) };
  const compiled = context.catalog.byName.get(rule);
  draft.user = compiled === undefined ? left : resetCounters(left, compiled);
  effects.push({ kind: 'unindex', index: restrictedIndex(rule), member: memberOf(context) });
  if (expiresAt !== null && why.cause !== 'expired') {
    effects.push({ kind: 'cancel_timer', id: expireTimer(rule, context) });
  }
  effects.push({
    kind: 'emit',
    type: 'lifted',
    body: { ...aboutUser(context), feature, rule, version, restricted_at: restrictedAt, ...why },
  });
  effects.push({ kind: 'count', metric: 'restrictions_lifted', rule });
}

function resetCounters(user: UserState, { rule, windows }: CompiledRule): UserState {
  return {
    ...user,
    profile: rule.reset === undefined ? user.profile : rule.reset(user.profile),
    windows: without(
      user.windows,
      [...windows.values()].map((window) => window.key),
    ),
    recent: without(user.recent, [rule.name]),
  };
}

function without<Value>(
  record: Readonly<Record<string, Value>>,
  keys: readonly string[],
): Readonly<Record<string, Value>> {
  const left = { ...record };
  for (const key of keys) delete left[key];
  return left;
}
