import { expect } from 'chai';
import { decimal } from '../../../api/restrictions/user-view.js';

describe('decimal', () => {
  const cases: readonly (readonly [scaled: bigint, text: string])[] = [
    [0n, '0'],
    [1n, '0.0001'],
    [3000n, '0.3'],
    [10_000n, '1'],
    [10_050n, '1.005'],
    [12_345_678_901_234n, '1234567890.1234'],
    [90_071_992_547_409_910_001n, '9007199254740991'],
  ];
  for (const [scaled, text] of cases) {
    it(`reads ${scaled} ten-thousandths as ${text}`, () => {
      expect(String(decimal(scaled))).to.equal(text);
    });
  }
});
