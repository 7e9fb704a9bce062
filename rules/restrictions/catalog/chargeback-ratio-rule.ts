import { formatAmount } from '../amount.js';
import type { Rule } from '../rule.js';

export const chargebackRatioRule: Rule = {
  name: 'chargeback_ratio_rule',
  version: 1,
  feature: 'purchase',
  mode: 'live',
  description: 'No purchases when chargebacks exceed a tenth of what was spent.',
  evidence: ['chargeback_occurred'],
  matches: ({ profile: { spend, chargebacks } }) =>
    // chargebacks / spend > 0.10, in integers.
    spend > 0n && chargebacks * 10n > spend
      ? `chargebacks of ${formatAmount(chargebacks)} against a spend of ${formatAmount(spend)}`
      : null,
  reset: (profile) => ({ ...profile, chargebacks: 0n }),
};
