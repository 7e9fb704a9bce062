import { scamMessageRule } from '../../rules/restrictions/catalog/scam-message-rule.js';
import { RULES } from '../../rules/restrictions/registry.js';
import type { Rule } from '../../rules/restrictions/rule.js';

/**
 * What happens to the process that folds an event, by the card that was added: rules are code, and code has bugs.
 */
export const THROWING_CARD = 'throws';
export const KILLING_CARD = 'kills';
export const HANGING_CARD = 'hangs';

const dangerousRule: Rule = {
  ...scamMessageRule,
  name: 'dangerous_rule',
  matches: ({ profile }) => {
    for (const [card] of profile.cards) {
      if (card === THROWING_CARD) throw new TypeError('the rule has a bug');
      if (card === KILLING_CARD) process.kill(process.pid, 'SIGKILL');
      if (card === HANGING_CARD) for (;;);
    }
    return null;
  },
};

export const DANGEROUS_RULES: readonly Rule[] = [...RULES, dangerousRule];
