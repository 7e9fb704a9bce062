import type { LatencySketch } from '../shared/state/latency-sketch.js';

/** A bucket's bounds lie this far apart: the middle of it is within 1 % of everything in it. */
const GAMMA = 1.01 / 0.99;
const MICROSECONDS_MAX = 86_400_000_000;
/** Latencies of 0 have no logarithm. */
const ZERO_BUCKET = -1;

/**
 * Upper bounds of the buckets, in µs: bucket i holds BOUNDS[i - 1] < us <= BOUNDS[i]; bucket 0 is 1 µs, the last
 * (1260) a day. With the one for zero a sketch has at most 1,262 buckets. Made by multiplication alone, which every
 * machine rounds alike: `Math.log` and `Math.pow` may differ from one version of V8 to the next.
 */
const BOUNDS: readonly number[] = boundsUpTo(MICROSECONDS_MAX);

/** Latencies below this are looked up as they are, others by their leading bits. A multiple of 256. */
const LOOKUP_SIZE = 65_536;
const BUCKET_OF = lookupTable();
/** Buckets between a latency and 256 times as much: ln 256 / ln GAMMA = 277.25, rounded down. */
const BUCKETS_PER_256 = 277;

/** @param us whole microseconds, 0 to a day */
export function addLatency(sketch: LatencySketch, us: number): void {
  const bucket = us === 0 ? ZERO_BUCKET : bucketOf(us);
  sketch.set(bucket, (sketch.get(bucket) ?? 0) + 1);
}

/** Afterwards `into` is what it would be had it been given the latencies of both. */
export function mergeSketch(into: LatencySketch, from: LatencySketch): void {
  for (const [bucket, count] of from) into.set(bucket, (into.get(bucket) ?? 0) + count);
}

/**
 * The latency in ms that a share `q` (0 to 1) of all is not above, within 1 %; undefined for an empty sketch.
 * The rank is that of the sorted latencies' element `floor(q * (n - 1))`.
 */
export function quantile(sketch: LatencySketch, q: number): number | undefined {
  return quantiles(sketch, [q])?.[0];
}

/** Several quantiles at once, in ms; `shares` ascending. Undefined for an empty sketch. */
export function quantiles(sketch: LatencySketch, shares: readonly number[]): number[] | undefined {
  let total = 0;
  for (const count of sketch.values()) total += count;
  if (total === 0) return undefined;
  const buckets = [...sketch.keys()].sort((a, b) => a - b);
  const found: number[] = [];
  let next = 0;
  let upTo = sketch.get(buckets[0]!)!;
  for (const q of shares) {
    const rank = Math.floor(q * (total - 1));
    while (upTo <= rank && next + 1 < buckets.length) upTo += sketch.get(buckets[++next]!)!;
    found.push(middleUs(buckets[next]!) / 1000);
  }
  return found;
}

/** Equally far, in relation, from both bounds. */
function middleUs(bucket: number): number {
  return bucket === ZERO_BUCKET ? 0 : (2 * BOUNDS[bucket]!) / (GAMMA + 1);
}

/** No logarithm: it is asked for every event. */
function bucketOf(us: number): number {
  if (us < LOOKUP_SIZE) return BUCKET_OF[us]!;
  let leading = us / 256;
  let bucket = BUCKETS_PER_256;
  while (leading >= LOOKUP_SIZE) {
    leading /= 256;
    bucket += BUCKETS_PER_256;
  }
  // Never too high; too low by a bucket for the remainder and by one for each rounding above.
  bucket += BUCKET_OF[Math.floor(leading)]!;
  while (us > BOUNDS[bucket]!) bucket += 1;
  return bucket;
}

function boundsUpTo(us: number): number[] {
  const bounds = [1];
  while (bounds.at(-1)! < us) bounds.push(bounds.at(-1)! * GAMMA);
  return bounds;
}

function lookupTable(): Uint16Array {
  const table = new Uint16Array(LOOKUP_SIZE);
  let bucket = 0;
  for (let us = 1; us < LOOKUP_SIZE; us += 1) {
    while (us > BOUNDS[bucket]!) bucket += 1;
    table[us] = bucket;
  }
  return table;
}
