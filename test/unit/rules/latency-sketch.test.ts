import { expect } from 'chai';
import fc from 'fast-check';
import { addLatency, mergeSketch, quantile } from '../../../rules/latency-sketch.js';
import { decodeSketch, encodeSketch, type LatencySketch } from '../../../shared/state/latency-sketch.js';

const DAY_US = 86_400_000_000;

/** Latencies of every magnitude, and those beside the bounds of buckets. */
const latency = fc.oneof(
  fc.integer({ min: 0, max: 100 }),
  fc.integer({ min: 0, max: 70_000 }),
  fc.integer({ min: 0, max: DAY_US }),
  fc
    .tuple(fc.integer({ min: 0, max: 1259 }), fc.integer({ min: -1, max: 1 }))
    .map(([power, beside]) => Math.max(0, Math.floor((1.01 / 0.99) ** power) + beside)),
  fc
    .tuple(fc.integer({ min: 0, max: 36 }), fc.integer({ min: -1, max: 1 }))
    .map(([power, beside]) => Math.max(0, 2 ** power + beside)),
);
const latencies = fc.array(latency, { minLength: 1, maxLength: 200 });

function sketchOf(values: readonly number[]): LatencySketch {
  const sketch: LatencySketch = new Map();
  for (const us of values) addLatency(sketch, us);
  return sketch;
}

describe('latency-sketch', () => {
  it('answers quantiles of a plain example', () => {
    const sketch = sketchOf(Array.from({ length: 1000 }, (_, i) => (i + 1) * 1000));
    expect(quantile(sketch, 0.5)).to.be.closeTo(500, 5);
    expect(quantile(sketch, 0.95)).to.be.closeTo(950, 9.5);
    expect(quantile(sketch, 0.99)).to.be.closeTo(990, 9.9);
    expect(quantile(sketch, 0)).to.be.closeTo(1, 0.01);
    expect(quantile(sketch, 1)).to.be.closeTo(1000, 10);
  });

  it('has no quantile of nothing, and knows that 0 is 0', () => {
    expect(quantile(new Map(), 0.5)).to.equal(undefined);
    expect(quantile(sketchOf([0, 0, 0, 5000]), 0.5)).to.equal(0);
  });

  it('is right within 1 % at every quantile of any latencies', () => {
    fc.assert(
      fc.property(latencies, fc.double({ min: 0, max: 1, noNaN: true }), (values, q) => {
        const sorted = values.toSorted((a, b) => a - b);
        const exact = sorted[Math.floor(q * (sorted.length - 1))]!;
        const answered = quantile(sketchOf(values), q)! * 1000;
        // A bound itself is exactly 1 % off; the rest is the rounding of doubles.
        expect(Math.abs(answered - exact)).to.be.at.most(exact * (0.01 + 1e-9));
      }),
      { numRuns: 1000 },
    );
  });

  it('merges to what it would be had it seen all, in any order', () => {
    fc.assert(
      fc.property(latencies, latencies, (some, others) => {
        const merged = sketchOf(some);
        mergeSketch(merged, sketchOf(others));
        expect(encodeSketch(merged)).to.deep.equal(encodeSketch(sketchOf([...others, ...some])));
      }),
    );
  });

  it('is read back as it was written, lowest bucket first', () => {
    expect(encodeSketch(sketchOf([1_000_000, 0, 1, 1]))).to.deep.equal([-1, 1, 0, 2, 691, 1]);
    fc.assert(
      fc.property(latencies, (values) => {
        const flat = encodeSketch(sketchOf(values));
        const buckets = flat.filter((_, i) => i % 2 === 0);
        expect(buckets).to.deep.equal(buckets.toSorted((a, b) => a - b));
        expect(encodeSketch(decodeSketch(flat))).to.deep.equal(flat);
      }),
    );
  });

  it('never has more than 1,262 buckets', () => {
    const sketch = sketchOf([0, DAY_US]);
    for (let us = 1; us < DAY_US; us = Math.max(us + 1, Math.floor(us * 1.005))) addLatency(sketch, us);
    expect(Math.max(...sketch.keys())).to.equal(1260);
    // Among the smallest some hold no whole number of microseconds.
    expect(sketch.size).to.be.at.most(1262);
  });
});
