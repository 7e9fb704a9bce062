import { expect } from 'chai';
import { compileCatalog } from '../../../rules/restrictions/compile-catalog.js';
import { RULES } from '../../../rules/restrictions/registry.js';
import type { Rule } from '../../../rules/restrictions/rule.js';
import { burstRule, runawayRule, SEED_RULES } from './test-rules.js';

/** A rule that the compiler would refuse, as it may come from JavaScript or a careless cast. */
const wrong = (changes: Record<string, unknown>): Rule => ({ ...burstRule(), ...changes }) as Rule;

const defectsOf = (...rules: Rule[]): string[] => {
  try {
    compileCatalog(rules);
  } catch (error) {
    const [title, ...defects] = (error as Error).message.split('\n');
    expect(title).to.equal('rules:');
    return defects.map((defect) => defect.trim());
  }
  return [];
};

describe('the rule catalog', () => {
  it('holds the four rules of the contract, all live, and no defects', () => {
    expect(RULES).to.include.members([...SEED_RULES]);
    expect(
      SEED_RULES.map(({ name, version, feature, mode }) => [name, version, feature, mode]),
    ).to.deep.equal([
      ['scam_message_rule', 1, 'message', 'live'],
      ['unique_zip_code_rule', 1, 'purchase', 'live'],
      ['chargeback_ratio_rule', 1, 'purchase', 'live'],
      ['card_testing_rule', 1, 'purchase', 'live'],
    ]);
    expect(defectsOf(...RULES)).to.deep.equal([]);
  });

  it('refuses two rules of one name', () => {
    expect(defectsOf(burstRule(), burstRule())).to.deep.equal(['burst_rule: two rules have this name']);
  });

  it('refuses names that are no plain identifiers or that every object has', () => {
    for (const name of ['', 'Rule', '1rule', 'a-b', 'a:b', 'constructor', '__proto__', 'x'.repeat(65)]) {
      expect(defectsOf(runawayRule({ name })), name).to.deep.equal([
        `${name}: the name must match /^[a-z][a-z0-9_]{0,63}$/ and not be a reserved word`.trim(),
      ]);
    }
  });

  it('tells all defects of all rules at once', () => {
    const defects = defectsOf(
      wrong({ name: 'a', version: 0, feature: 'flying', mode: 'on', description: ' ' }),
      wrong({
        name: 'b',
        evidence: ['nonsense', 'purchase_made', 'purchase_made'],
        expiresAfterSeconds: 0.5,
      }),
      wrong({
        name: 'c',
        windows: {
          flags: { event: 'nonsense', seconds: 0, entriesMax: 5000 },
          cards: { event: 'credit_card_added', seconds: 1, distinct: 'user_id' },
        },
      }),
      wrong({
        name: 'd',
        tripwire: { max_share: 0, max_users: 0, min_population: -1, window_seconds: 1.5 },
      }),
    );
    expect(defects).to.deep.equal([
      'a: version must be an integer of 1 or more',
      'a: unknown feature flying',
      'a: unknown mode on',
      'a: the description is empty',
      'b: evidence names the unknown event nonsense',
      'b: evidence names an event twice',
      'b: expiresAfterSeconds must be an integer from 1 to 316224000',
      'c: window flags: seconds must be an integer from 1 to 2678400',
      'c: window flags: entriesMax must be an integer from 1 to 1024',
      'c: window flags: unknown event nonsense',
      'c: window cards: credit_card_added has no property user_id',
      'd: tripwire.max_share must be above 0 and at most 1',
      'd: tripwire.max_users must be an integer of 1 or more, or null',
      'd: tripwire.min_population must be an integer of 0 or more',
      'd: tripwire.window_seconds must be an integer from 1 to 86400',
    ]);
  });

  it('refuses at start a rule that reads a window it does not declare, or reads it the wrong way', () => {
    const reads = (read: Rule['matches']) => defectsOf(burstRule({ matches: read }));
    expect(reads((facts) => `${facts.count('flagz')}`)).to.deep.equal([
      'burst_rule: matches() throws for a new user: the rule declares no window flagz that counts events',
    ]);
    expect(reads((facts) => `${facts.distinct('flags')}`)).to.deep.equal([
      'burst_rule: matches() throws for a new user: the rule declares no window flags that counts distinct values',
    ]);
  });
});
