import type { Restriction } from '../../shared/state/user-state.js';
import { resetByRule } from './ask-rule.js';
import { aboutUser, type Context, type Draft, restrictedIndex } from './draft.js';
import type { Rule } from './rule.js';
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
 * rule's windows, and its evidence. Of a rule that no longer exists nobody knows what to set back in the profile. Where a
 * reset throws, the profile stays as it is: the rule may restrict the user again at the next event, but the restriction
 * has ended.
 */
export function lift(draft: Draft, restriction: Restriction, why: LiftCause, context: Context): void {
  const { rule, version, feature, restrictedAt, expiresAt } = restriction;
  const { user, effects } = draft;
  const left = { ...user, restrictions: user.restrictions.filter((other) => other !== restriction) };
  draft.user = left;
  resetCounters(draft, rule, context.catalog.byName.get(rule)?.rule, context.at);
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

function resetCounters(draft: Draft, name: string, rule: Rule | undefined, at: number): void {
  const { user } = draft;
  draft.user = {
    ...user,
    windows: without(user.windows, (key) => key.startsWith(`${name}.`)),
    recent: without(user.recent, (key) => key === name),
  };
  if (rule === undefined) return;
  try {
    draft.user = { ...draft.user, profile: resetByRule(rule, user.profile) };
  } catch (error) {
    ruleFailed(draft, name, 'reset', error, at);
  }
}

function without<Value>(
  record: Readonly<Record<string, Value>>,
  isGone: (key: string) => boolean,
): Readonly<Record<string, Value>> {
  return Object.fromEntries(Object.entries(record).filter(([key]) => !isGone(key)));
}
