import { expect } from 'chai';
import {
  groupSpans,
  type Pass,
  passBefore,
  provenMs,
  recentPlans,
  type Verified,
} from '../../consumer/reconcile/recent-spans.js';

const LIMITS = { overlapMs: 100, closingMs: 40, firstLookMs: 1000, spanMsMax: 500 };

describe('reconciler: what to look through', () => {
  const position = (ms: number, outbox = '9-0') => ({ stream: `${ms}-0`, outbox });
  const verified = (ms: number, from: ReturnType<typeof position>, calm = true, again?: Pass): Verified => ({
    ...from,
    ...{ ms, calm, again },
  });
  /** New: after, up to; again: after, up to, rows after. */
  const plans = (
    positions: Record<number, ReturnType<typeof position>>,
    known: Record<number, Verified> = {},
  ) =>
    recentPlans(numbered(positions), numbered(known), LIMITS).map(({ knownMs, toMs, again, againToMs }) => [
      ...[knownMs, toMs, again.ms, againToMs, again.row.start],
    ]);
  const numbered = <T>(record: Record<number, T>) =>
    new Map(Object.entries(record).map(([key, value]) => [Number(key), value]));

  it('begins with the recent past, a piece of limited length', () => {
    expect(plans({ 0: position(10_000) })).to.deep.equal([[9000, 9500, 8900, 9000, 8860]]);
    expect(plans({ 0: position(300) })).to.deep.equal([[0, 300, -100, 0, -140]]);
  });

  it('goes on where it ended, and looks again at some before', () => {
    const before = verified(10_000, position(10_000));
    expect(plans({ 0: position(10_200) }, { 0: before })).to.deep.equal([
      [10_000, 10_200, 9900, 10_000, 9860],
    ]);
  });

  it('goes on with a pass that was not ended, up to where it was to end', () => {
    const begun = { ms: 9700, stream: '9700-0', outbox: '8-0', unproven: false };
    const pass: Pass = { ms: 9500, row: { start: 9510, id: 7 }, begun };
    const before = verified(10_000, position(10_000), false, pass);
    expect(plans({ 0: position(10_200) }, { 0: before })).to.deep.equal([[10_000, 10_200, 9500, 9700, 9510]]);
    expect(provenMs(before, LIMITS)).to.equal(9600);
    const rowsAhead = { ...before, again: { ...pass, row: { start: 9410, id: 7 } } };
    expect(provenMs(rowsAhead, LIMITS)).to.equal(9550);
    expect(provenMs({ ...before, again: passBefore(10_000, LIMITS) }, LIMITS)).to.equal(10_000);
  });

  it('leaves out a partition in which nothing has happened, unless something was left over', () => {
    const at = position(10_000);
    expect(plans({ 0: at }, { 0: verified(10_000, at) })).to.deep.equal([]);
    const again = [[10_000, 10_000, 9900, 10_000, 9860]];
    expect(plans({ 0: at }, { 0: verified(10_000, at, false) })).to.deep.equal(again);
    // Only windows were written.
    expect(plans({ 0: position(10_000, '10-0') }, { 0: verified(10_000, at) })).to.deep.equal(again);
  });

  it('does not look for what is after the position, should that have gone back', () => {
    const pass = passBefore(10_000, LIMITS);
    expect(plans({ 0: position(400) }, { 0: verified(10_000, position(10_000), true, pass) })).to.deep.equal([
      [400, 400, 300, 400, 260],
    ]);
  });

  it('throws spans together where they overlap, and only there', () => {
    const groups = groupSpans([
      { partition: 0, fromMs: 9900, toMs: 10_200 },
      { partition: 1, fromMs: 10_000, toMs: 10_250 },
      { partition: 2, fromMs: 4900, toMs: 5000 },
      { partition: 3, fromMs: 5000, toMs: 5000 },
    ]).map(({ fromMs, toMs, partitions }) => [fromMs, toMs, partitions.map(({ partition }) => partition)]);
    expect(groups).to.deep.equal([
      [4900, 5000, [2]],
      [9900, 10_250, [0, 1]],
    ]);
  });
});
