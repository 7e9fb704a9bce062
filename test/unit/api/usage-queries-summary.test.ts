import { expect } from 'chai';
import fc from 'fast-check';
import { Refusal } from '../../../api/refusal.js';
import {
  SummaryFold,
  type SummaryOptions,
  type SummaryRow,
} from '../../../api/usage/queries/summary-fold.js';
import { addLatency } from '../../../rules/latency-sketch.js';
import type { UsageWindow } from '../../../shared/usage/usage-window.js';
import { usageWindow } from './usage-windows.js';

const MINUTE = 60_000;
const options: SummaryOptions = {
  range: { from: 0, to: 10 * MINUTE },
  bucketMs: MINUTE,
  groupBy: undefined,
  watermarkMs: 60 * MINUTE,
  latenessMs: 10_000,
};

function rowsOf(windows: readonly UsageWindow[], more: Partial<SummaryOptions> = {}): SummaryRow[] {
  const fold = new SummaryFold({ ...options, ...more });
  return [...fold.take(windows), ...fold.end()];
}

describe('SummaryFold', () => {
  it('sums windows into rows aligned to the epoch, and leaves out the empty ones', () => {
    const windows = [
      usageWindow(30_000, { calls: 1, tokens: 10, inputTokens: 4, outputTokens: 6 }),
      usageWindow(60_000, { calls: 2, tokens: 20 }),
      usageWindow(90_000, { calls: 3, tokens: 30 }),
      usageWindow(300_000, { calls: 4, tokens: 40 }),
    ];
    const rows = rowsOf(windows);
    expect(rows.map(({ start, end, calls, tokens }) => [start, end, calls, tokens])).to.deep.equal([
      [0, 60_000, 1, 10],
      [60_000, 120_000, 5, 50],
      [300_000, 360_000, 4, 40],
    ]);
    expect(rows[0]).to.include({ inputTokens: 4, outputTokens: 6 });
    expect(rows[0]).not.to.have.property('groups');
  });

  it('has an average of sums and percentiles of merged sketches, never an average of averages', () => {
    const slow = new Map();
    const fast = new Map();
    for (let i = 0; i < 99; i++) addLatency(fast, 1000);
    addLatency(slow, 1_000_000);
    const fold = new SummaryFold(options);
    fold.take([
      usageWindow(0, { latencyCount: 99, latencySumUs: 99_000, latency: fast }),
      usageWindow(30_000, { latencyCount: 1, latencySumUs: 1_000_000, latency: slow }),
      usageWindow(60_000),
    ]);
    const [second] = fold.end();
    const total = fold.total();
    expect(second).to.include({ avgLatencyMs: 0, p50Ms: null, p99Ms: null });
    expect(total.avgLatencyMs).to.equal(10.99);
    expect(total.p50Ms).to.be.closeTo(1, 0.01);
    expect(total.p99Ms).to.be.closeTo(1, 0.01);
    expect(slow.size + fast.size).to.equal(2);
  });

  it('groups by endpoint or model, most calls first, equal ones by name', () => {
    const window = usageWindow(0, {
      byEndpoint: new Map([
        ['/b', { calls: 1, tokens: 5 }],
        ['__proto__', { calls: 7, tokens: 1 }],
        ['/a', { calls: 1, tokens: 9 }],
      ]),
      byModel: new Map([['m', { calls: 9, tokens: 15 }]]),
    });
    expect(rowsOf([window, usageWindow(30_000)], { groupBy: 'endpoint' })[0]!.groups).to.deep.equal([
      { name: '__proto__', calls: 7, tokens: 1 },
      { name: '/a', calls: 1, tokens: 9 },
      { name: '/b', calls: 1, tokens: 5 },
    ]);
    expect(rowsOf([window], { groupBy: 'model' })[0]!.groups).to.deep.equal([
      { name: 'm', calls: 9, tokens: 15 },
    ]);
    // What the reader holds of a window is not what the sum changes.
    expect(window.byEndpoint.get('/a')).to.deep.equal({ calls: 1, tokens: 9 });
  });

  it('calls a row final only when every window in it is closed and settled', () => {
    const final = (window: UsageWindow) => rowsOf([usageWindow(0), window])[0]!.final;
    expect(final(usageWindow(30_000))).to.equal(true);
    expect(final(usageWindow(30_000, { status: 'revised', revision: 3 }))).to.equal(true);
    expect(final(usageWindow(30_000, { status: 'open', revision: 0 }))).to.equal(false);
    expect(final(usageWindow(30_000, { status: 'revised', settling: true }))).to.equal(false);
  });

  it('calls a row final only when no window that is still missing can come on time', () => {
    const final = (watermarkMs: number) => rowsOf([usageWindow(0)], { watermarkMs })[0]!.final;
    expect(final(69_999)).to.equal(false);
    expect(final(70_000)).to.equal(true);
  });

  it('calls a row that the range cuts partial, and never final', () => {
    const says = (from: number, to: number) => {
      const [row] = rowsOf([usageWindow(30_000)], { range: { from, to } });
      return [row!.partial, row!.final];
    };
    expect(says(0, MINUTE)).to.deep.equal([false, true]);
    expect(says(1, MINUTE)).to.deep.equal([true, false]);
    expect(says(30_000, MINUTE)).to.deep.equal([true, false]);
    expect(says(0, MINUTE - 1)).to.deep.equal([true, false]);
    expect(says(30_000, 30_001)).to.deep.equal([true, false]);
  });

  it('has rows inside the range that say what an oracle says of all events, whatever range, length and time', () => {
    const windowArbitrary = fc.record({
      n: fc.nat(300),
      calls: fc.integer({ min: 1, max: 9 }),
      state: fc.constantFrom('open', 'closed', 'settling'),
    });
    const timeArbitrary = fc.oneof(
      fc.nat(300).map((n) => n * 30_000),
      fc.nat(300 * 30_000),
    );
    fc.assert(
      fc.property(
        fc.uniqueArray(windowArbitrary, { selector: ({ n }) => n, maxLength: 60 }),
        fc.tuple(timeArbitrary, timeArbitrary).filter(([a, b]) => a !== b),
        fc.constantFrom(30_000, MINUTE, 60 * MINUTE, 1440 * MINUTE),
        fc.nat(300 * 30_000 + 1440 * MINUTE),
        (drawn, times, bucketMs, watermarkMs) => {
          const range = { from: Math.min(...times), to: Math.max(...times) };
          const windows = drawn
            .sort((a, b) => a.n - b.n)
            .map(({ n, calls, state }) =>
              usageWindow(n * 30_000, {
                calls,
                settling: state === 'settling',
                status: state === 'open' ? 'open' : 'revised',
              }),
            );
          const read = windows.filter(({ start }) => start >= range.from && start < range.to);
          const rows = rowsOf(read, { range, bucketMs, watermarkMs });
          for (const row of rows) {
            const own = windows.filter(({ start }) => start >= row.start && start < row.end);
            const inside = range.from <= row.start && row.end <= range.to;
            const settled = own.every((window) => window.status !== 'open' && !window.settling);
            const final = inside && settled && watermarkMs >= row.end + options.latenessMs;
            expect([row.partial, row.final]).to.deep.equal([!inside, final]);
            if (inside) expect(row.calls).to.equal(own.reduce((sum, { calls }) => sum + calls, 0));
          }
          const begun = new Set(read.map(({ start }) => start - (start % bucketMs)));
          expect(rows.map(({ start }) => start)).to.deep.equal([...begun]);
        },
      ),
    );
  });

  it('refuses groups that make too long an answer, also within one row, and says what to narrow', () => {
    const named = (n: number, name: string) =>
      usageWindow(n * 30_000, { byModel: new Map([[name, { calls: 1, tokens: 1 }]]) });
    // 64 and the name in quotes: in each row, and once in the total.
    const same = [named(0, 'm'), named(1, 'm'), named(2, 'm'), named(4, 'm')];
    expect(rowsOf(same, { groupBy: 'model', groupBytesMax: 4 * 67 })).to.have.length(3);
    expect(() => rowsOf(same, { groupBy: 'model', groupBytesMax: 4 * 67 - 1 }))
      .to.throw(Refusal, 'a shorter range, a longer window or no groupBy')
      .with.property('code', 'range_too_large');
    expect(rowsOf(same, { groupBytesMax: 1 })).to.have.length(3);
    const fold = new SummaryFold({ ...options, groupBy: 'model', groupBytesMax: 2 * 67 - 1 });
    expect(() => fold.take([named(0, 'a'), named(1, 'b')])).to.throw(Refusal);
  });

  it('counts names as they are written', () => {
    const name = '\u0001ä"';
    const window = usageWindow(0, { byModel: new Map([[name, { calls: 1, tokens: 1 }]]) });
    const bytes = 2 * (64 + Buffer.byteLength(JSON.stringify(name)));
    expect(rowsOf([window], { groupBy: 'model', groupBytesMax: bytes })).to.have.length(1);
    expect(() => rowsOf([window], { groupBy: 'model', groupBytesMax: bytes - 1 })).to.throw(Refusal);
  });

  it('never makes more than 17 MiB of the longest names there are', () => {
    const names = (w: number) =>
      Array.from(
        { length: 100 },
        (_, i) => [`${w}-${i}`.padEnd(512, '\u0001'), { calls: 1, tokens: 1 }] as const,
      );
    const fold = new SummaryFold({ ...options, bucketMs: 30_000, groupBy: 'endpoint' });
    let chars = 0;
    const refused = Array.from({ length: 100 }, (_, w) => w).findIndex((w) => {
      try {
        for (const row of fold.take([usageWindow(w * 30_000, { byEndpoint: new Map(names(w)) })])) {
          chars += JSON.stringify(row).length;
        }
        return false;
      } catch (error) {
        expect(error).to.have.property('code', 'range_too_large');
        return true;
      }
    });
    expect(refused).to.be.within(20, 40);
    expect(2 * chars).to.be.below(17 * 1_048_576);
  });

  it('refuses sums that a number cannot hold', () => {
    const window = (start: number) => usageWindow(start, { tokens: Number.MAX_SAFE_INTEGER });
    expect(rowsOf([window(0)])[0]!.tokens).to.equal(Number.MAX_SAFE_INTEGER);
    expect(() => rowsOf([window(0), window(30_000)]))
      .to.throw(Refusal)
      .with.property('code', 'range_too_large');
  });

  it('conserves every total, whatever the rows and however the windows are handed over', () => {
    const windowArbitrary = fc.record({
      n: fc.integer({ min: 0, max: 500 }),
      calls: fc.nat(1000),
      tokens: fc.nat(1_000_000),
      name: fc.constantFrom('a', 'b', '__proto__'),
      us: fc.option(fc.nat(1_000_000)),
    });
    fc.assert(
      fc.property(
        fc.uniqueArray(windowArbitrary, { selector: ({ n }) => n }),
        fc.constantFrom(30_000, MINUTE, 60 * MINUTE, 1440 * MINUTE),
        fc.integer({ min: 1, max: 10 }),
        (drawn, bucketMs, pieces) => {
          const windows = drawn
            .sort((a, b) => a.n - b.n)
            .map(({ n, calls, tokens, name, us }) =>
              usageWindow(n * 30_000, {
                ...{ calls, tokens, byModel: new Map([[name, { calls, tokens }]]) },
                ...(us === null ? {} : { latencyCount: 1, latencySumUs: us }),
              }),
            );
          const fold = new SummaryFold({ ...options, bucketMs, groupBy: 'model' });
          const rows: SummaryRow[] = [];
          for (let i = 0; i < windows.length; i += pieces)
            rows.push(...fold.take(windows.slice(i, i + pieces)));
          rows.push(...fold.end());
          const sum = (values: readonly number[]) => values.reduce((a, b) => a + b, 0);
          const calls = sum(drawn.map((window) => window.calls));
          const tokens = sum(drawn.map((window) => window.tokens));
          const total = fold.total();
          expect([total.calls, total.tokens]).to.deep.equal([calls, tokens]);
          expect(sum(rows.map((row) => row.calls))).to.equal(calls);
          expect(sum(total.groups!.map((group) => group.tokens))).to.equal(tokens);
          expect(sum(rows.flatMap((row) => row.groups!.map((group) => group.tokens)))).to.equal(tokens);
          expect(new Set(rows.map((row) => row.start)).size).to.equal(rows.length);
          for (const row of rows) expect(row.start % bucketMs).to.equal(0);
        },
      ),
    );
  });
});
