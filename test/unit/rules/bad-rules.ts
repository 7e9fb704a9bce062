import type { Rule } from '../../../rules/restrictions/rule.js';
import type { Profile } from '../../../shared/state/user-state.js';
import { burstRule } from './test-rules.js';

/** Code may do to a profile what its type forbids. */
type Careless = { -readonly [Name in keyof Profile]: Profile[Name] } & { cards: [string, string][] };

/** Everything that the `matches` of a careless rule may do instead of answering. */
export const BAD_MATCHES: Readonly<Record<string, Rule['matches']>> = {
  'reads the first card of a user without cards': ({ profile }) =>
    profile.cards[0]![0] === 'x' ? 'x' : null,
  'throws a text': () => {
    throw 'a text';
  },
  'throws what has no text': () => {
    throw Object.create(null);
  },
  'answers undefined': () => undefined as unknown as null,
  'answers a number': () => 17 as unknown as string,
  'answers a promise that fails': () => Promise.reject(new Error('unheard')) as unknown as null,
  'changes the profile': ({ profile }) => {
    (profile as Careless).scamFlags += 1;
    return null;
  },
  'changes the cards, then throws': ({ profile }) => {
    (profile as Careless).cards.push(['c', 'z']);
    throw new Error('half-way');
  },
  'changes a card, where there is one': ({ profile }) => {
    (profile as Careless).cards[0]![1] = 'elsewhere';
    return null;
  },
};

/** Everything that the `reset` of a careless rule may do instead of setting back. */
export const BAD_RESETS: Readonly<Record<string, NonNullable<Rule['reset']>>> = {
  throws: () => {
    throw new Error('no reset');
  },
  'answers undefined': () => undefined as unknown as Profile,
  'answers a promise that fails': () => Promise.reject(new Error('unheard')) as unknown as Profile,
  'answers half a profile': ({ scamFlags }) => ({ scamFlags }) as Profile,
  'answers a debt': (profile) => ({ ...profile, spend: -1n }),
  'answers cards that are none': (profile) => ({ ...profile, cards: ['c'] as unknown as Profile['cards'] }),
  'deletes a card where it lies': (profile) => {
    const cards = [...profile.cards, ['c', 'z'] as const];
    delete cards[0];
    return { ...profile, cards };
  },
  'answers a card as long as a document': (profile) => ({ ...profile, cards: [['c'.repeat(1 << 20), 'z']] }),
  'answers a sum as long as a document': (profile) => ({ ...profile, spend: 1n << 5_000_000n }),
  'answers more flags than there were': (profile) => ({ ...profile, scamFlags: profile.scamFlags + 1 }),
  'changes the profile, then throws': (profile) => {
    (profile as Careless).scamFlags = 0;
    throw new Error('half-way');
  },
};

export function badRule(changes: Partial<Rule>): Rule {
  return burstRule({ name: 'bad_rule', matches: () => null, ...changes });
}
