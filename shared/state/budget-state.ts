import type { BudgetConfig, Priority } from './budget-config.js';
import type { Draft } from './metering-state.js';

/** Use of one level in one window. Tokens are whole numbers. Mutable: see Draft. */
export interface LevelUse {
  settled: number;
  /** Granted to admissions of this window that have not ended. */
  held: number;
  /** Requests, for people to see: no decision uses them. */
  admitted: number;
  /** Of those admitted. */
  degraded: number;
  /** Refused by this very level. */
  refused: number;
  /** Tokens per window, as they were when the window ended; null: the window is open, or the level was removed before. */
  limit: number | null;
}

/**
 * A fixed window: [start, end), ms since the epoch. Ends are aligned to the epoch; the start is, too, unless the length
 * was changed while a window was open.
 */
export interface BudgetWindow {
  readonly start: number;
  end: number;
  /** By level name; levels that were removed meanwhile stay until the window is over. */
  readonly levels: Map<string, LevelUse>;
  /** Admissions of this window that are held. */
  holds: number;
  /** Admissions of this window that expired and were charged: a late settle may still give some of it back. */
  refundable: number;
  /** Entries of the ledger about this window. */
  entries: number;
}

/** The document `budget:<tenant>`: all levels together, so that they move together. */
export interface BudgetState extends Draft {
  /** null: nobody has configured it, DEFAULT_BUDGETS. */
  config: BudgetConfig | null;
  /** `at` of the first message folded here, ms: tells this ledger from one that Redis has lost. */
  readonly epoch: number;
  /** Entries of the ledger, ever: the number of the last. Gapless within the epoch. */
  entries: number;
  /** End of the last window that is over, ms; 0: none. None begins before it, however long windows are by then. */
  lastEnd: number;
  /** Admissions held of windows that are over. */
  pastHolds: number;
  /**
   * Nothing refers to this ledger any more after this, ms. A tenant that nobody has configured is forgotten then, unless
   * a window is open or something is held: who asks later begins with a new epoch.
   */
  keepUntil: number;
  /** The open window; null: nothing was asked since the last one ended. */
  window: BudgetWindow | null;
}

/** The document `budget-window:<tenant>:<start>`: a window that is over, while something of it may still change. */
export interface PastWindow extends BudgetWindow, Draft {
  /** Of the configuration when it ended. */
  readonly version: number;
  /** Snapshots sent to the outbox. */
  revision: number;
  /** Nothing can change it any more after this, ms; null: holds are open. Redis forgets it a little later. */
  keepUntil: number | null;
}

export type AdmissionStatus = 'held' | 'settled' | 'cancelled' | 'expired' | 'refused';
export type Decision = 'ALLOW' | 'ALLOW_DEGRADED' | 'REJECT';

/** Why a request was refused. */
export interface RefusedBy {
  readonly level: string;
  /** What would have been granted at most, at that level and priority. */
  readonly available: number;
  /** When that level's window ends, ms. */
  readonly resetsAt: number;
  /** Of the configuration that refused it. */
  readonly version: number;
}

export interface Admission {
  /** The id it was given; then those given to identical retries while nobody could decide (fail open). */
  readonly ids: readonly string[];
  readonly status: AdmissionStatus;
  readonly decision: Decision;
  readonly pipeline: string;
  readonly priority: Priority;
  /** Names of the levels it was debited at, the root first. */
  readonly path: readonly string[];
  readonly estimated: number;
  /** What was debited: held, then charged or given back. */
  readonly granted: number;
  /** Start of the window that granted it, ms. */
  readonly window: number;
  /** `at` of the decision, ms. */
  readonly at: number;
  /** null: it was never held (evaluate, refused). */
  readonly expiresAt: number | null;
  /** null: held. */
  readonly endedAt: number | null;
  /** What it was charged in all once it ended; null: held. */
  readonly charged: number | null;
  /** Part of `charged` beyond `granted`. */
  readonly overrun: number;
  /** What the hold's expiry did; null: it did not expire. Stays when a late settle comes. */
  readonly expiry: 'release' | 'charge' | null;
  /** Tokens answered without a decision (fail open) that the decision itself had not granted. */
  readonly failedOpen: number | null;
  readonly refusedBy: RefusedBy | null;
  /** Hash of the request's body; an identical retry has the same. */
  readonly body: string;
  /** How often it was asked for. */
  readonly attempts: number;
  /** The same key is the same request until then, ms; while it is held in any case. */
  readonly dedupeUntil: number;
  /** Readable until then, ms; null: held. */
  readonly keepUntil: number | null;
}

/** The end of an admission that is not known yet: it was given undecided, and its report is on its way. */
export interface KeptEnd {
  /** The id that was given. */
  readonly id: string;
  /** What it took, tokens; null: cancelled. */
  readonly actual: number | null;
  /** ms. */
  readonly until: number;
}

/** The document `admission:<tenant>:<key>`: what was asked with one key, the newest last; usually one. */
export interface AdmissionDocument {
  readonly admissions: readonly Admission[];
  /** In the order in which they came; absent: none. */
  readonly ends?: readonly KeptEnd[];
}
