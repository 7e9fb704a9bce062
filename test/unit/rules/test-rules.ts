import { cardTestingRule } from '../../../rules/restrictions/catalog/card-testing-rule.js';
import { chargebackRatioRule } from '../../../rules/restrictions/catalog/chargeback-ratio-rule.js';
import { scamMessageRule } from '../../../rules/restrictions/catalog/scam-message-rule.js';
import { uniqueZipCodeRule } from '../../../rules/restrictions/catalog/unique-zip-code-rule.js';
import type { Rule } from '../../../rules/restrictions/rule.js';

/** The four rules weir comes with: tests of the folds use these, so that a new rule breaks none of them. */
export const SEED_RULES: readonly Rule[] = [
  scamMessageRule,
  uniqueZipCodeRule,
  chargebackRatioRule,
  cardTestingRule,
];

/** A rule for tests: three scam flags within a minute. What a test needs otherwise, it changes. */
export function burstRule(changes: Partial<Rule> = {}): Rule {
  return {
    name: 'burst_rule',
    version: 1,
    feature: 'message',
    mode: 'live',
    description: 'Three flags within a minute.',
    evidence: ['scam_message_flagged'],
    windows: { flags: { event: 'scam_message_flagged', seconds: 60 } },
    matches: (facts) => (facts.count('flags') >= 3 ? `${facts.count('flags')} flags` : null),
    ...changes,
  };
}

/** A rule gone wild: restricts every user at the first event. */
export function runawayRule(changes: Partial<Rule> = {}): Rule {
  return {
    name: 'runaway_rule',
    version: 1,
    feature: 'message',
    mode: 'live',
    description: 'Everybody.',
    evidence: [],
    matches: () => 'everybody',
    ...changes,
  };
}
