import { quantiles } from '../../../rules/latency-sketch.js';
import type { LatencySketch } from '../../../shared/state/latency-sketch.js';
import type { Dimension } from '../../../shared/state/metering-state.js';

/** How long calls took. The percentiles are right within 1 %, the average exactly. */
export interface LatencyView {
  /** Of the calls that reported a latency; 0 where none did. */
  readonly avgLatencyMs: number;
  /** null where no call reported a latency. */
  readonly p50Ms: number | null;
  readonly p95Ms: number | null;
  readonly p99Ms: number | null;
}

export interface LatencyFigures {
  readonly latencyCount: number;
  readonly latencySumUs: number;
  readonly latency: LatencySketch;
}

/** In ms with three decimals: of sum and count, never of averages. */
export function averageMs({ latencyCount, latencySumUs }: LatencyFigures): number {
  return latencyCount === 0 ? 0 : Math.round(latencySumUs / latencyCount) / 1000;
}

export function percentiles(latency: LatencySketch): Omit<LatencyView, 'avgLatencyMs'> {
  const [p50, p95, p99] = quantiles(latency, [0.5, 0.95, 0.99]) ?? [];
  return { p50Ms: rounded(p50), p95Ms: rounded(p95), p99Ms: rounded(p99) };
}

function rounded(ms: number | undefined): number | null {
  return ms === undefined ? null : Math.round(ms * 1000) / 1000;
}

/** As JSON wants it. Names are data: here `__proto__` is a key of the object like any other. */
export function dimensionView(dimension: Dimension): object {
  // fromEntries defines keys; assigning to `__proto__` would set the prototype and lose the name.
  return Object.fromEntries(Array.from(dimension, ([name, { calls, tokens }]) => [name, { calls, tokens }]));
}
