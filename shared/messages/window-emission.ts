/** Name, calls and tokens of one endpoint or model. */
export type NamedUsage = readonly [name: string, calls: number, tokens: number];

/** A window as the archive has it. Sums are integers; everything a query answers is made of them. */
export interface StoredWindow {
  readonly tenant: string;
  readonly customer: string;
  /** ms since the epoch. */
  readonly start: number;
  /** ms since the epoch, exclusive. */
  readonly end: number;
  readonly status: 'closed' | 'revised';
  /** 1: as it closed; each one more is a correction. */
  readonly revision: number;
  /** The last message counted in it: its entry, and its place in there. Grows with every revision. */
  readonly asOf: readonly [entry: string, index: number];
  readonly calls: number;
  readonly tokens: number;
  readonly inputTokens: number;
  readonly outputTokens: number;
  readonly latencyCount: number;
  /** Microseconds. */
  readonly latencySumUs: number;
  /** Events counted after it had closed. */
  readonly late: number;
  readonly endpoints: readonly NamedUsage[];
  readonly models: readonly NamedUsage[];
  /** See `encodeSketch`. */
  readonly latency: readonly number[];
}

/** Body of an outbox entry of type `window`. */
export interface WindowEmission extends StoredWindow {
  /** Counts the emissions of the partition: what the archive confirms with `archived`. */
  readonly emission: number;
  /** The partition's time of the emission, ms. */
  readonly at: number;
}
