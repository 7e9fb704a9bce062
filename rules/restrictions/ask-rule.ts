import { storableText } from '../../shared/messages/error-text.js';
import type { Profile } from '../../shared/state/user-state.js';
import { CARDS_MAX } from './profile.js';
import type { Rule, RuleFacts } from './rule.js';

/** As long as a person's reason may be. */
const REASON_CHARACTERS_MAX = 500;

/**
 * The rule's reason to restrict, fit to be kept; null: none.
 * @throws what the rule throws, and for an answer that is neither a text nor null
 */
export function askRule(rule: Rule, facts: RuleFacts): string | null {
  const reason: unknown = rule.matches(facts);
  if (reason === null) return null;
  if (typeof reason === 'string') return storableText(reason, REASON_CHARACTERS_MAX);
  throw new TypeError(`it returned ${kindOf(reason)}, not a text or null`);
}

/**
 * The profile as the rule sets it back; of what the rule returns nothing but a profile's own fields is taken.
 * @throws what the rule throws, and for an answer that is no profile
 */
export function resetByRule(rule: Rule, profile: Profile): Profile {
  if (rule.reset === undefined) return profile;
  const returned: unknown = rule.reset(frozen(profile));
  if (typeof returned !== 'object' || returned === null) {
    throw new TypeError(`it returned ${kindOf(returned)}, not a profile`);
  }
  const { scamFlags, cards, spend, chargebacks } = returned as Partial<Record<keyof Profile, unknown>>;
  const isWhole = Number.isSafeInteger(scamFlags) && (scamFlags as number) >= 0;
  if (!isWhole || !isSum(spend) || !isSum(chargebacks) || !areCards(cards)) {
    throw new TypeError('it returned a profile with fields that are none');
  }
  return { scamFlags: scamFlags as number, cards: cards.map(([id, zip]) => [id, zip]), spend, chargebacks };
}

/** A rule sees the very profile that others see, perhaps the committed one: it must not change it. */
export function frozen(profile: Profile): Profile {
  if (Object.isFrozen(profile)) return profile;
  if (!Object.isFrozen(profile.cards)) {
    for (const card of profile.cards) Object.freeze(card);
    Object.freeze(profile.cards);
  }
  return Object.freeze(profile);
}

function isSum(value: unknown): value is bigint {
  return typeof value === 'bigint' && value >= 0n;
}

function areCards(value: unknown): value is Profile['cards'] {
  return (
    Array.isArray(value) &&
    value.length <= CARDS_MAX &&
    value.every((card) => Array.isArray(card) && typeof card[0] === 'string' && typeof card[1] === 'string')
  );
}

function kindOf(value: unknown): string {
  if (value instanceof Promise) {
    // Nothing waits for it: unheard, its failure would end the process.
    value.catch(() => undefined);
    return 'a promise';
  }
  return value === null ? 'null' : typeof value;
}
