import type { LatencySketch } from './latency-sketch.js';

/** Calls and tokens under one endpoint or model. Mutable: see Draft. */
export interface Usage {
  calls: number;
  tokens: number;
}

/** Endpoint or model → usage. A Map, because names are data: `__proto__` is one like any other. */
export type Dimension = Map<string, Usage>;

/**
 * A document that a step may change in place. Thousands of messages of a step meet the same few documents, so the
 * fold copies a document once per step, at first touch, and marks the copy with the step (`owner`). A document whose
 * `owner` is not the present step is never changed: it may be the committed one.
 */
export interface Draft {
  owner: object | undefined;
}

/** Sums of usage: of a window, or of a minute, an hour, a day. */
export interface Totals {
  calls: number;
  tokens: number;
  inputTokens: number;
  outputTokens: number;
  byEndpoint: Dimension;
  byModel: Dimension;
}

export type WindowStatus = 'open' | 'closed' | 'revised';

/** Position of a message: its entry and its place in there. */
export interface AsOf {
  readonly entry: string;
  readonly index: number;
}

/** A document with names from outside, which must not outgrow what one document may weigh. */
export interface Named {
  /** See `nameBytesOf`. Made of the names, not stored. */
  nameBytes: number;
}

/** The document `window:<tenant>:<start ms>:<customer>`. */
export interface WindowState extends Totals, Named, Draft {
  /** ms since the epoch; the length is WINDOW_SECONDS. */
  readonly start: number;
  latencyCount: number;
  /** Microseconds. */
  latencySumUs: number;
  latency: LatencySketch;
  status: WindowStatus;
  /** 0 while open, 1 when closed, one more for every burst of late events. */
  revision: number;
  /** Late events are being gathered into the present revision; it is not emitted yet. */
  settling: boolean;
  /** Events counted after the window had closed. */
  late: number;
  /** Number of its last emission to the outbox, 0: none; it is in the archive when the partition's `archived` has reached it. */
  emission: number;
  /** The last message that was counted here. */
  asOfEntry: string;
  asOfIndex: number;
}

/** One minute, hour or day of a customer. A draft of its own: of several slots a step touches few. */
export interface Slot extends Totals, Draft {
  /** ms since the epoch. */
  readonly start: number;
}

/** The document `counters:<tenant>:<customer>`: what `GET /usage/current` shows. Starts → slots, few of each. */
export interface CountersState extends Named, Draft {
  /** When `at` is beyond this, ms, slots may have to go. Never later than the truth; not stored: 0 once decoded. */
  staleAfter: number;
  minutes: Map<number, Slot>;
  hours: Map<number, Slot>;
  days: Map<number, Slot>;
}

/** The partition's own document on the topic `usage`. */
export interface MeteringState extends Draft {
  /** `at` of the first message folded here, ms: what happened before may be in an archive, never here. 0: none yet. */
  bornAt: number;
  /** Windows that end at or before this and are not in Redis have left it: corrections are made in the archive. */
  coldUntil: number;
  /** Windows handed to the outbox, ever. */
  emissions: number;
  /** The emissions that the archive has confirmed: all up to this number. */
  archived: number;
}

export const SLOT_MS = { minutes: 60_000, hours: 3_600_000, days: 86_400_000 } as const;
export type SlotKind = keyof typeof SLOT_MS;
