import { storableText } from '../../shared/messages/error-text.js';
import type { Profile } from '../../shared/state/user-state.js';
import { CARDS_MAX } from './profile.js';
import type { Rule, RuleFacts } from './rule.js';

/** As long as a person's reason may be. */
const REASON_CHARACTERS_MAX = 500;
/** UTF-16 units of a card's id or zip code: those of the longest that an event may bring. */
const CARD_UNITS_MAX = 256;

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
 * The profile as the rule sets it back; of what the rule returns nothing but a profile's own fields is taken. It counts
 * no more than before, so that no rule makes the document too large for the others.
 * @throws what the rule throws, and for an answer that is no such profile
 */
export function resetByRule(rule: Rule, profile: Profile): Profile {
  if (rule.reset === undefined) return profile;
  const returned: unknown = rule.reset(frozen(profile));
  if (typeof returned !== 'object' || returned === null) {
    throw new TypeError(`it returned ${kindOf(returned)}, not a profile`);
  }
  const { scamFlags, cards, spend, chargebacks } = returned as Partial<Record<keyof Profile, unknown>>;
  const isCount = Number.isSafeInteger(scamFlags) && isUpTo(profile.scamFlags, scamFlags);
  if (!isCount || !isUpTo(profile.spend, spend) || !isUpTo(profile.chargebacks, chargebacks)) {
    throw new TypeError('it returned a profile with counters that are none, or above what they were');
  }
  return { scamFlags, cards: cardsOf(cards), spend, chargebacks };
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

function isUpTo<Counter extends number | bigint>(most: Counter, value: unknown): value is Counter {
  return typeof value === typeof most && (value as Counter) >= 0 && (value as Counter) <= most;
}

/** A copy, in which a card that the rule deleted shows as none. @throws for what are no cards */
function cardsOf(value: unknown): Profile['cards'] {
  if (!Array.isArray(value) || value.length > CARDS_MAX) throw new TypeError('it returned no cards');
  return Array.from<unknown, readonly [string, string]>(value, (card) => {
    const [id, zip] = Array.isArray(card) ? (card as unknown[]) : [];
    if (!isCardText(id) || !isCardText(zip)) throw new TypeError('it returned a card that is none');
    return [id, zip];
  });
}

function isCardText(value: unknown): value is string {
  return typeof value === 'string' && value.length <= CARD_UNITS_MAX;
}

function kindOf(value: unknown): string {
  if (value instanceof Promise) {
    // Nothing waits for it: unheard, its failure would end the process.
    value.catch(() => undefined);
    return 'a promise';
  }
  return value === null ? 'null' : typeof value;
}
