import type { Rule } from '../rule.js';

/** More cards than this, and more than three quarters as many zip codes. */
const CARDS_ABOVE = 2;

export const uniqueZipCodeRule: Rule = {
  name: 'unique_zip_code_rule',
  version: 1,
  feature: 'purchase',
  mode: 'live',
  description: `No purchases with more than ${CARDS_ABOVE} cards and more than 0.75 distinct zip codes per card.`,
  evidence: ['credit_card_added'],
  matches({ profile }) {
    const cards = profile.cards.length;
    if (cards <= CARDS_ABOVE) return null;
    const zips = new Set<string>();
    for (const [, zip] of profile.cards) zips.add(zip);
    // zips / cards > 3 / 4, in integers.
    return zips.size * 4 > cards * 3 ? `${zips.size} distinct zip codes on ${cards} cards` : null;
  },
  reset: (profile) => ({ ...profile, cards: [] }),
};
