import type { Rule } from '../rule.js';

const CARDS_MIN = 5;
const WINDOW_SECONDS = 600;

export const cardTestingRule: Rule = {
  name: 'card_testing_rule',
  version: 1,
  feature: 'purchase',
  mode: 'live',
  description: `No purchases for 24 h after ${CARDS_MIN} distinct cards within ${WINDOW_SECONDS} s.`,
  evidence: ['credit_card_added'],
  windows: { cards: { event: 'credit_card_added', distinct: 'card_id', seconds: WINDOW_SECONDS } },
  matches(facts) {
    const cards = facts.distinct('cards');
    return cards >= CARDS_MIN ? `${cards} distinct cards within ${WINDOW_SECONDS} s` : null;
  },
  expiresAfterSeconds: 24 * 3600,
};
