import type { WindowState } from '../state/metering-state.js';

/** The message that a window counted last. */
export interface LastCounted {
  /** When it was accepted, ms since the epoch. */
  readonly atMs: number;
  /** `usage.3/1700000000000-0:5`: partition, stream entry, place in the entry. */
  readonly position: string;
}

type Figures =
  | 'start'
  | 'status'
  | 'revision'
  | 'settling'
  | 'late'
  | 'calls'
  | 'tokens'
  | 'inputTokens'
  | 'outputTokens'
  | 'latencyCount'
  | 'latencySumUs'
  | 'latency'
  | 'byEndpoint'
  | 'byModel';

/** A window as a reader sees it, wherever it lies: hot in Redis or archived in Postgres. */
export interface UsageWindow extends Readonly<Pick<WindowState, Figures>> {
  /** ms since the epoch. */
  readonly end: number;
  readonly last: LastCounted;
}

/** Where a message lies, as receipts and windows name it. */
export function messagePosition(partition: string, entry: string, index: number): string {
  return `${partition}/${entry}:${index}`;
}
