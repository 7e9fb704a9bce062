import { expect } from 'chai';
import { recentSpans, type Verified } from '../../consumer/reconcile/recent-spans.js';

const LIMITS = { overlapMs: 100, firstLookMs: 1000, spanMsMax: 500 };

describe('reconciler: what to look through', () => {
  const position = (ms: number, outbox = '9-0') => ({ stream: `${ms}-0`, outbox });
  const verified = (ms: number, from: ReturnType<typeof position>, calm = true): Verified => ({
    ...from,
    ms,
    calm,
  });
  const spans = (
    positions: Record<number, ReturnType<typeof position>>,
    known: Record<number, Verified> = {},
  ) =>
    recentSpans(numbered(positions), numbered(known), LIMITS).map(({ fromMs, toMs, partitions }) => [
      fromMs,
      toMs,
      partitions.map(({ partition }) => partition),
    ]);
  const numbered = <T>(record: Record<number, T>) =>
    new Map(Object.entries(record).map(([key, value]) => [Number(key), value]));

  it('begins with the recent past, a piece of limited length', () => {
    expect(spans({ 0: position(10_000) })).to.deep.equal([[8900, 9500, [0]]]);
    expect(spans({ 0: position(300) })).to.deep.equal([[0, 300, [0]]]);
  });

  it('goes on where it ended, less the overlap', () => {
    expect(spans({ 0: position(10_200) }, { 0: verified(10_000, position(10_000)) })).to.deep.equal([
      [9900, 10_200, [0]],
    ]);
  });

  it('leaves out a partition in which nothing has happened, unless something was left over', () => {
    const at = position(10_000);
    expect(spans({ 0: at }, { 0: verified(10_000, at) })).to.deep.equal([]);
    expect(spans({ 0: at }, { 0: verified(10_000, at, false) })).to.deep.equal([[9900, 10_000, [0]]]);
    // Only windows were written.
    expect(spans({ 0: position(10_000, '10-0') }, { 0: verified(10_000, at) })).to.deep.equal([
      [9900, 10_000, [0]],
    ]);
  });

  it('throws spans together where they overlap, and only there', () => {
    const before = position(1);
    expect(
      spans(
        { 0: position(10_200), 1: position(10_250), 2: position(5000) },
        { 0: verified(10_000, before), 1: verified(10_100, before), 2: verified(5000, before) },
      ),
    ).to.deep.equal([
      [4900, 5000, [2]],
      [9900, 10_250, [0, 1]],
    ]);
  });

  it('does not look for what is after the position, should that have gone back', () => {
    expect(spans({ 0: position(400) }, { 0: verified(10_000, position(10_000)) })).to.deep.equal([
      [300, 400, [0]],
    ]);
  });
});
