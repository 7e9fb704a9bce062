import type { RuleSettings } from '../../shared/state/partition-state.js';
import type { Restriction } from '../../shared/state/user-state.js';
import { askRule, frozen } from './ask-rule.js';
import type { CompiledRule } from './compile-catalog.js';
import {
  aboutUser,
  type Context,
  type Draft,
  modeOf,
  RESTRICTING_INDEX,
  reservationKey,
  reservationOf,
  restrictedIndex,
} from './draft.js';
import type { Rule } from './rule.js';
import { ruleFailed } from './rule-errors.js';
import { memberOf } from './subject.js';
import { expireTimer } from './timer-id.js';
import { WindowFacts } from './windows.js';

/**
 * Asks every rule about the user as it is now (level-triggered), so that a user whom the tripwire denied, or whom a
 * rule matched before it went live, is decided at the next event.
 *
 *   mode off, already restricted by the rule, or an override on its feature  → nothing
 *   no match                                                                → nothing
 *   it throws, or answers with nonsense                                     → counted as an error of the rule
 *   match, mode shadow                                                      → counted, once per user and stay
 *   match, mode live, tripwire denies                                       → counted as denied
 *   match, mode live, tripwire grants or was not asked yet                  → restricted
 */
export function evaluate(draft: Draft, context: Context): void {
  for (const compiled of context.catalog.rules) {
    const { rule } = compiled;
    const mode = modeOf(draft.partition, rule);
    if (mode === 'off' || isSettled(draft, rule)) continue;
    const reason = reasonOf(draft, compiled, context.at);
    if (reason === null) continue;
    if (mode === 'shadow') markShadow(draft, rule, draft.partition.rules[rule.name]);
    else if (isGranted(draft, compiled, context)) restrict(draft, rule, reason, context);
    else draft.effects.push({ kind: 'count', metric: 'rule_denied', rule: rule.name });
  }
}

function reasonOf(draft: Draft, { rule, windows }: CompiledRule, at: number): string | null {
  const { user } = draft;
  try {
    return askRule(rule, new WindowFacts(frozen(user.profile), at, windows, user.windows));
  } catch (error) {
    ruleFailed(draft, rule.name, 'matches', error, at);
    return null;
  }
}

/** Nothing for the rule to decide: it has restricted the user already, or a person has decided instead. */
function isSettled({ user }: Draft, rule: Rule): boolean {
  for (const { rule: name } of user.restrictions) if (name === rule.name) return true;
  for (const { feature } of user.overrides) if (feature === rule.feature) return true;
  return false;
}

function markShadow(draft: Draft, rule: Rule, settings: RuleSettings | undefined): void {
  const { user, partition } = draft;
  const stay = settings?.shadowControl ?? '';
  if (user.shadow[rule.name] === stay) return;
  draft.user = { ...user, shadow: { ...user.shadow, [rule.name]: stay } };
  const hits = (partition.shadow[rule.name] ?? 0) + 1;
  draft.partition = { ...partition, shadow: { ...partition.shadow, [rule.name]: hits } };
  draft.effects.push({ kind: 'count', metric: 'rule_shadow_hits', rule: rule.name });
}

/** A question without an answer counts as granted and is listed, so that the worker asks it and folds again. */
function isGranted(draft: Draft, { rule }: CompiledRule, context: Context): boolean {
  const key = reservationKey(rule.name, context);
  const answer = context.answers.get(key);
  if (answer === undefined) draft.reservations.push(reservationOf(rule.name, key, context));
  return answer ?? true;
}

function restrict(draft: Draft, rule: Rule, reason: string, context: Context): void {
  const { user, effects } = draft;
  const { at } = context;
  const expiresAt = rule.expiresAfterSeconds === undefined ? null : at + rule.expiresAfterSeconds * 1000;
  const restriction: Restriction = {
    rule: rule.name,
    version: rule.version,
    feature: rule.feature,
    reason,
    evidence: user.recent[rule.name] ?? [],
    restrictedAt: at,
    expiresAt,
  };
  draft.user = { ...user, restrictions: [...user.restrictions, restriction] };
  effects.push({ kind: 'index', index: restrictedIndex(rule.name), member: memberOf(context), score: at });
  const member = `${rule.feature}:${rule.name}`;
  effects.push({ kind: 'index', index: RESTRICTING_INDEX, member, score: at });
  if (expiresAt !== null) {
    effects.push({ kind: 'timer', id: expireTimer(rule.name, context), dueAt: expiresAt });
  }
  effects.push({
    kind: 'emit',
    type: 'restricted',
    body: {
      ...aboutUser(context),
      feature: rule.feature,
      rule: rule.name,
      version: rule.version,
      reason,
      evidence: restriction.evidence,
      expires_at: expiresAt,
    },
  });
  effects.push({ kind: 'count', metric: 'rule_hits', rule: rule.name });
}
