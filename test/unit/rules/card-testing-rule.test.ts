import { expect } from 'chai';
import { cardTestingRule } from '../../../rules/restrictions/catalog/card-testing-rule.js';
import { card } from './messages.js';
import { SimulatedPartition } from './simulated-partition.js';

const T = 1_700_000_000_000;
const DAY_MS = 86_400_000;
const cards = (...added: [seconds: number, card: string][]) =>
  new SimulatedPartition([cardTestingRule]).run(
    added.map(([s, id]) => card(T + s * 1000, 'u', id, 'z', `${id}@${s}`)),
  );

describe('card_testing_rule', () => {
  it('restricts purchases for 24 h at the fifth distinct card within ten minutes', () => {
    const partition = cards([0, 'a'], [1, 'b'], [2, 'c'], [3, 'd'], [599.999, 'e']);
    expect(partition.user('u').restrictions).to.deep.equal([
      {
        rule: 'card_testing_rule',
        version: 1,
        feature: 'purchase',
        reason: '5 distinct cards within 600 s',
        evidence: ['a@0', 'b@1', 'c@2', 'd@3', 'e@599.999'],
        restrictedAt: T + 599_999,
        expiresAt: T + 599_999 + DAY_MS,
      },
    ]);
    expect(partition.timers).to.deep.equal({ 'expire:card_testing_rule:default:u': T + 599_999 + DAY_MS });
  });

  it('does not count a card added exactly ten minutes ago', () => {
    const partition = cards([0, 'a'], [1, 'b'], [2, 'c'], [3, 'd'], [600, 'e']);
    expect(partition.user('u').restrictions).to.deep.equal([]);
  });

  it('counts a card that comes again once, at its latest time', () => {
    const partition = cards([0, 'a'], [1, 'b'], [2, 'c'], [3, 'd'], [300, 'a']);
    expect(partition.user('u').restrictions).to.deep.equal([]);
    expect(partition.user('u').windows['card_testing_rule.cards']).to.deep.equal([
      [T + 1000, 'b'],
      [T + 2000, 'c'],
      [T + 3000, 'd'],
      [T + 300_000, 'a'],
    ]);
    partition.run([card(T + 600_500, 'u', 'e', 'z')]);
    expect(partition.user('u').restrictions.length).to.equal(1);
  });

  it('lifts the restriction after 24 h and starts from an empty window', () => {
    const partition = cards([0, 'a'], [1, 'b'], [2, 'c'], [3, 'd'], [4, 'e']);
    partition.idle(T + 4000 + DAY_MS - 1);
    expect(partition.user('u').restrictions.length).to.equal(1);
    partition.idle(T + 4000 + DAY_MS);
    expect(partition.user('u').restrictions).to.deep.equal([]);
    expect(partition.user('u').windows).to.deep.equal({});
    expect(partition.index('restricted:card_testing_rule')).to.deep.equal({});
    expect(partition.effects('emit').map(({ type, body }) => ({ type, ...body }))[1]).to.deep.equal({
      type: 'lifted',
      tenant: 'default',
      user: 'u',
      at: T + 4000 + DAY_MS,
      message: null,
      feature: 'purchase',
      rule: 'card_testing_rule',
      version: 1,
      restricted_at: T + 4000,
      cause: 'expired',
    });
  });
});
