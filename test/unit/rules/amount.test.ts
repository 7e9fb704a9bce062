import { expect } from 'chai';
import fc from 'fast-check';
import { formatAmount, unitsOf } from '../../../rules/restrictions/amount.js';

describe('amounts', () => {
  it('are read from the digits that the producer wrote', () => {
    const read = [0.1, 3, 12.3456, 0.0001, 1e15, 123456789.01].map(unitsOf);
    expect(read).to.deep.equal([
      1000n,
      30_000n,
      123_456n,
      1n,
      10_000_000_000_000_000_000n,
      1_234_567_890_100n,
    ]);
  });

  it('are refused where they are no number greater than 0 with at most 4 decimals', () => {
    for (const amount of ['1', null, undefined, 0, -1, Number.NaN]) {
      expect(() => unitsOf(amount)).to.throw('amount is not a number greater than 0');
    }
    for (const amount of [0.00001, 1e-7, 1e21, Number.POSITIVE_INFINITY, 1.23456]) {
      expect(() => unitsOf(amount)).to.throw('amount has more than 4 decimals or is too large');
    }
  });

  it('are the same number again when written and read, whatever their digits', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 1n, max: 10n ** 15n }), (units) => {
        expect(unitsOf(Number(formatAmount(units)))).to.equal(units);
      }),
    );
  });

  it('are written for people without needless zeros', () => {
    expect([0n, 1n, 10_000n, 12_300n, 120_045n].map(formatAmount)).to.deep.equal([
      '0',
      '0.0001',
      '1',
      '1.23',
      '12.0045',
    ]);
  });
});
