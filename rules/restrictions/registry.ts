import { cardTestingRule } from './catalog/card-testing-rule.js';
import { chargebackRatioRule } from './catalog/chargeback-ratio-rule.js';
import { scamMessageRule } from './catalog/scam-message-rule.js';
import { uniqueZipCodeRule } from './catalog/unique-zip-code-rule.js';
import type { Rule } from './rule.js';

/** The rules this installation runs, in the order in which they are asked. A new rule is one line here. */
export const RULES: readonly Rule[] = [
  scamMessageRule,
  uniqueZipCodeRule,
  chargebackRatioRule,
  cardTestingRule,
];
