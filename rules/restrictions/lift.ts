import type { Restriction } from '../../shared/state/user-state.js';
import { resetByRule } from './ask-rule.js';
import type { CompiledRule } from './compile-catalog.js';
import { aboutUser, type Context, type Draft, restrictedIndex } from './draft.js';
import { ruleFailed } from './rule-errors.js';
import { memberOf } from './subject.js';
import { expireTimer } from './timer-id.js';

/** Why a restriction ended, as the audit log tells it. */
export type LiftCause =
  | { readonly cause: 'expired' }
  | { readonly cause: 'override'; readonly reason: string; readonly actor: string }
  | { readonly cause: 'rollback' | 'mode'; readonly control: string };

/**
 * Ends one restriction and sets back exactly the counters that caused it: what the rule resets in the profile, the
 * rule's windows, and its evidence. A rule that no longer exists leaves nothing to set back. Where its reset throws,
 * the profile stays as it is: the rule may restrict the user again at the next event, but the restriction has ended.
 */
export function lift(draft: Draft, restriction: Restriction, why: LiftCause, context: Context): void {
  const { rule, version, feature, restrictedAt, expiresAt } = restriction;
  const { user, effects } = draft;
  const left = { ...user, restrictions: user.restrictions.filter((other) => other !== restriction) };
  const compiled = context.catalog.byName.get(rule);
  draft.user = left;
  if (compiled !== undefined) resetCounters(draft, compiled, context.at);
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

function resetCounters(draft: Draft, { rule, windows }: CompiledRule, at: number): void {
  const { user } = draft;
  const keys = [...windows.values()].map((window) => window.key);
  draft.user = { ...user, windows: without(user.windows, keys), recent: without(user.recent, [rule.name]) };
  try {
    draft.user = { ...draft.user, profile: resetByRule(rule, user.profile) };
  } catch (error) {
    ruleFailed(draft, rule.name, 'reset', error, at);
  }
}

function without<Value>(
  record: Readonly<Record<string, Value>>,
  keys: readonly string[],
): Readonly<Record<string, Value>> {
  const left = { ...record };
  for (const key of keys) delete left[key];
  return left;
}
