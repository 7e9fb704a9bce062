import { expect } from 'chai';
import { retryDelayMs } from '../../shared/lock/retry-delay.js';

describe('delay between two tries to get a lock', () => {
  const retryMs = 100;
  const range = (attempt: number, remainingMs = Infinity) => [
    retryDelayMs({ attempt, retryMs, remainingMs, random: () => 0 }),
    retryDelayMs({ attempt, retryMs, remainingMs, random: () => 1 }),
  ];

  it('begins between half of retryMs and retryMs; the upper end doubles up to sixteen times', () => {
    expect([0, 1, 2, 3, 4, 5, 1000].map((attempt) => range(attempt))).to.deep.equal([
      [50, 100],
      [50, 200],
      [50, 400],
      [50, 800],
      [50, 1600],
      [50, 1600],
      [50, 1600],
    ]);
  });

  it('does not sleep past the end of the present lease, which some wait a little longer than others', () => {
    expect(range(4, 20)).to.deep.equal([21, 71]);
    expect(range(4, 0)).to.deep.equal([1, 51]);
  });
});
