import { expect } from 'chai';
import fc from 'fast-check';
import { FailOpenAllowance } from '../../../api/admissions/fail-open-allowance.js';

const WINDOW_MS = 30_000;
const REMEMBERED_MS = 20_000;
const allowance = (tokensMax: number, rememberedMax = 100): FailOpenAllowance<string> =>
  new FailOpenAllowance({ windowMs: WINDOW_MS, tokensMax, rememberedMax, rememberedMs: REMEMBERED_MS });

describe('api: allowance for undecided admissions', () => {
  it('gives what there is to the last token, and nothing beyond', () => {
    const tokens = allowance(100);
    expect(tokens.take(0, 101)).to.equal(false);
    expect(tokens.take(0, 60)).to.equal(true);
    expect(tokens.take(0, 41)).to.equal(false);
    expect(tokens.take(WINDOW_MS - 1, 40)).to.equal(true);
    expect(tokens.take(WINDOW_MS - 1, 1)).to.equal(false);
  });

  it('begins anew with each window, aligned to the epoch, and forgets what it gave', () => {
    const tokens = allowance(100);
    expect(tokens.take(WINDOW_MS - 1, 100)).to.equal(true);
    tokens.remember(WINDOW_MS - 1, 'a', 'given');
    expect(tokens.known(WINDOW_MS - 1, 'a')).to.equal('given');
    expect(tokens.known(WINDOW_MS, 'a')).to.equal(undefined);
    expect(tokens.take(WINDOW_MS, 100)).to.equal(true);
    expect(tokens.take(WINDOW_MS, 1)).to.equal(false);
  });

  it('opens no window again when the clock is set back a little', () => {
    const tokens = allowance(100);
    expect(tokens.take(10 * WINDOW_MS, 100)).to.equal(true);
    expect(tokens.take(10 * WINDOW_MS - 1, 1)).to.equal(false);
    expect(tokens.take(10 * WINDOW_MS, 1)).to.equal(false);
  });

  it('does not wait for a clock that was set back far', () => {
    const tokens = allowance(100);
    expect(tokens.take(10 * WINDOW_MS, 100)).to.equal(true);
    expect(tokens.take(5 * WINDOW_MS, 100)).to.equal(true);
    expect(tokens.take(5 * WINDOW_MS, 1)).to.equal(false);
  });

  it('gives nothing when it remembers as many as it may', () => {
    const tokens = allowance(100, 1);
    expect(tokens.take(0, 1)).to.equal(true);
    tokens.remember(0, 'a', 'given');
    expect(tokens.take(0, 1)).to.equal(false);
    expect(tokens.take(WINDOW_MS, 1)).to.equal(true);
  });

  it('remembers whom it gave to for a time, not for the whole window; the tokens stay taken', () => {
    const tokens = allowance(100, 1);
    expect(tokens.take(0, 60)).to.equal(true);
    tokens.remember(0, 'a', 'given');
    expect(tokens.known(REMEMBERED_MS - 1, 'a')).to.equal('given');
    expect(tokens.known(REMEMBERED_MS, 'a')).to.equal(undefined);
    expect(tokens.take(REMEMBERED_MS, 41)).to.equal(false);
    // There is room for another one.
    expect(tokens.take(REMEMBERED_MS, 40)).to.equal(true);
  });

  it('forgets one of them, not what it was given', () => {
    const tokens = allowance(100);
    expect(tokens.take(0, 100)).to.equal(true);
    tokens.remember(0, 'a', 'given');
    tokens.remember(0, 'b', 'given');
    tokens.forget('a');
    expect([tokens.known(0, 'a'), tokens.known(0, 'b')]).to.deep.equal([undefined, 'given']);
    expect(tokens.take(0, 1)).to.equal(false);
  });

  it('gives nothing at all where the allowance is 0', () => {
    expect(allowance(0).take(0, 1)).to.equal(false);
  });

  it('never gives more than there is in a window, whatever is asked', () => {
    fc.assert(
      fc.property(
        fc.nat({ max: 1000 }),
        fc.array(
          fc.tuple(fc.nat({ max: 3 * WINDOW_MS }), fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER })),
        ),
        fc.array(fc.tuple(fc.nat({ max: 3 * WINDOW_MS }), fc.integer({ min: 1, max: 300 }))),
        (tokensMax, huge, small) => {
          const tokens = allowance(tokensMax);
          const given = new Map<number, number>();
          const calls = [...huge, ...small].sort(([a], [b]) => a - b);
          for (const [atMs, count] of calls) {
            if (!tokens.take(atMs, count)) continue;
            const window = Math.floor(atMs / WINDOW_MS);
            given.set(window, (given.get(window) ?? 0) + count);
          }
          for (const sum of given.values()) expect(sum).to.be.at.most(tokensMax);
        },
      ),
    );
  });
});
