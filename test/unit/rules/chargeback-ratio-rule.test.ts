import { expect } from 'chai';
import { chargebackRatioRule } from '../../../rules/restrictions/catalog/chargeback-ratio-rule.js';
import { chargeback, overridePut, purchase } from './messages.js';
import { type Entry, SimulatedPartition } from './simulated-partition.js';

const stateAfter = (...entries: Entry[]) =>
  new SimulatedPartition([chargebackRatioRule]).run(entries).user('u');

describe('chargeback_ratio_rule', () => {
  it('does not restrict a user who spent nothing', () => {
    expect(stateAfter(chargeback(1, 'u', 50)).restrictions).to.deep.equal([]);
  });

  it('does not restrict at exactly a tenth, even where floating point would say more', () => {
    // 0.1 + 0.1 + 0.1 is 0.30000000000000004 in floating point, more than a tenth of 3.
    const user = stateAfter(purchase(1, 'u', 3), ...[2, 3, 4].map((at) => chargeback(at, 'u', 0.1)));
    expect(user.profile.chargebacks).to.equal(3000n);
    expect(user.restrictions).to.deep.equal([]);
  });

  it('restricts purchases one ten-thousandth above a tenth', () => {
    const user = stateAfter(purchase(1, 'u', 3), chargeback(2, 'u', 0.3001, 'why'));
    expect(user.restrictions.map(({ reason, evidence }) => ({ reason, evidence }))).to.deep.equal([
      { reason: 'chargebacks of 0.3001 against a spend of 3', evidence: ['why'] },
    ]);
  });

  it('restricts at the purchase that comes after the chargeback', () => {
    const user = stateAfter(chargeback(1, 'u', 1), purchase(2, 'u', 9));
    expect(user.restrictions.map(({ restrictedAt }) => restrictedAt)).to.deep.equal([2]);
  });

  it('compares sums that no floating point number holds', () => {
    const user = stateAfter(
      ...Array.from({ length: 10 }, (_, at) => purchase(at, 'u', 1e15)),
      chargeback(20, 'u', 1e15),
    );
    expect(user.restrictions).to.deep.equal([]);
    const over = stateAfter(
      ...Array.from({ length: 10 }, (_, at) => purchase(at, 'u', 1e15)),
      chargeback(20, 'u', 1e15),
      chargeback(21, 'u', 0.0001),
    );
    expect(over.restrictions.length).to.equal(1);
  });

  it('forgets the chargebacks and keeps the spend when its restriction is lifted', () => {
    const { profile } = stateAfter(
      purchase(1, 'u', 3),
      chargeback(2, 'u', 2),
      overridePut(3, 'u', 'purchase', true),
    );
    expect([profile.spend, profile.chargebacks]).to.deep.equal([30_000n, 0n]);
  });
});
