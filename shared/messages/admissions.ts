import type { BudgetConfig, Priority } from '../state/budget-config.js';
import type { Admission, Decision, KeptEnd, RefusedBy } from '../state/budget-state.js';

/**
 * Messages of the topic `admissions`. Subject and tenant are the tenant: all its levels move together. Everything waits
 * for a reply; replies are told apart by `kind`.
 */
export const ADMIT = 'admit';
export const EVALUATE = 'evaluate';
export const SETTLE = 'settle';
export const CANCEL = 'cancel';
export const FAILED_OPEN = 'failed_open';
export const BUDGETS_PUT = 'budgets_put';

/**
 * An admission's id: its key (16 characters), then 8 of its own. Who has the id has the document
 * `admission:<tenant>:<key>`. The first of the 8 says who made it: `a` a request that a worker decided, `o` an API that
 * answered undecided (fail open), so that the workers may not know it yet. Four more of an `o` id are the minute in which
 * it was made (`admission-key.ts`).
 */
export const ADMISSION_KEY_LENGTH = 16;
export const ADMISSION_ID = /^[A-Za-z0-9_-]{16}[ao][A-Za-z0-9_-]{7}$/;

export function admissionKey(id: string): string {
  return id.slice(0, ADMISSION_KEY_LENGTH);
}

/** An API gave it when nobody decided: its `failed_open` may come after its end. */
export function isGivenUndecided(id: string): boolean {
  return id[ADMISSION_KEY_LENGTH] === 'o';
}

/** How long an admission that has ended is known at least, ms; so is an end whose admission is not known yet. */
export function keptMs({ keepMs, dedupeMs }: { readonly keepMs: number; readonly dedupeMs: number }): number {
  return Math.max(keepMs, dedupeMs);
}

/** Types `admit` and `evaluate`. Reply: AdmitReply, EvaluateReply. */
export interface AdmissionRequest {
  readonly pipeline: string;
  readonly priority: Priority;
  /** 1 … MAX_SAFE_INTEGER. */
  readonly estimated: number;
  /** Id of the admission, if this becomes one. */
  readonly admission: string;
  /**
   * False: nobody can ask for this again (no request id, no payload): nothing is remembered for retries.
   * Its key is random then.
   */
  readonly keyed: boolean;
  /**
   * An evaluate that nobody can ask for again is keyed all the same, by chance, but remembered only for FLEETING_MS: for as
   * long as a `failed_open` or a `cancel` about it may follow.
   */
  readonly fleeting?: true;
  /**
   * Of a fleeting evaluate whose key is that of its body (EVALUATE_DEDUPE_MS), ms, 1 … EVALUATE_DEDUPE_MS_MAX: for so long
   * after it was decided an equal body is the same request. By the partition's time: all API processes agree.
   */
  readonly dedupeMs?: number;
  /** Hash of everything the body says (16 characters). */
  readonly body: string;
  /** ms; absent: the setting. `admit` only. */
  readonly holdMs?: number;
}

export const FLEETING_MS = 30_000;
export const EVALUATE_DEDUPE_MS_MAX = 60_000;

/** Type `settle`. Reply: EndReply. */
export interface SettleRequest {
  readonly admission: string;
  /** 0 … ACTUAL_TOKENS_MAX. */
  readonly actual: number;
}

/** Sums of many stay exact integers. */
export const ACTUAL_TOKENS_MAX = 1_000_000_000_000;

/** Type `cancel`. Reply: EndReply. */
export interface CancelRequest {
  readonly admission: string;
  /**
   * Nobody heard of the request (the answer came too late, fail closed): what it was granted is given back, if it was asked
   * for once and, for an evaluate, its window is still open.
   */
  readonly abandoned?: true;
}

/**
 * Type `failed_open`, id `fo-<admission><body>`: a request was answered ALLOW for its whole estimate although nobody had
 * decided. Complete in itself: the request may never have reached the stream. No reply.
 */
export interface FailedOpen extends AdmissionRequest {
  /** The request settles at once: an evaluate, or a report that is so old that its end may be forgotten. */
  readonly settled: boolean;
  /**
   * The id that the request itself was sent with, where `admission` is another (an `o` id): it may have been decided under
   * this one.
   */
  readonly asked?: string;
  /** How long the report waited in the process that gave it, ms; absent: less than a second. */
  readonly waitedMs?: number;
}

/** Type `budgets_put`. Reply: BudgetsPutReply. */
export interface BudgetsPut {
  /** Its `version` and `appliedAt` are made by the fold, unless it is restored. */
  readonly config: BudgetConfig;
  /** The version this replaces; absent: any. */
  readonly replaces?: number;
  /** True: it comes from Postgres, and applies only if what is applied is older. No audit entry is written. */
  readonly restored?: true;
  readonly actor: string;
  readonly reason: string;
}

/** Tokens that would still be admitted at each level of the request's path, for its priority; the root first. */
export type Remaining = readonly (readonly [level: string, tokens: number])[];

export type AdmitReply =
  | {
      readonly kind: 'admitted';
      /** False: an identical retry; the admission as it is now. */
      readonly fresh: boolean;
      readonly admission: Admission;
      readonly remaining: Remaining;
    }
  | (Refused & { readonly kind: 'refused' })
  | (TooLarge & { readonly kind: 'too_large' })
  /** The same request id with another body. */
  | { readonly kind: 'conflict' }
  /** An identical retry of an admission that is expired or cancelled. */
  | { readonly kind: 'over'; readonly admission: Admission }
  | { readonly kind: 'unknown_pipeline'; readonly pipelines: readonly string[] }
  | UnsoundBudgets;

/** Nobody can decide: what is stored as the tenant's budgets is broken. */
interface UnsoundBudgets {
  readonly kind: 'unsound_budgets';
}

export interface Refused {
  readonly by: RefusedBy;
  /** How long until it may be asked again, ms. */
  readonly retryAfterMs: number;
  readonly attempts: number;
}

export interface TooLarge {
  readonly level: string;
  /** The largest estimate that can ever be admitted there, for this priority. */
  readonly tokensMax: number;
}

export type EvaluateReply =
  | {
      readonly kind: 'evaluated';
      readonly decision: Decision;
      /** 0 for REJECT. */
      readonly granted: number;
      readonly remaining: Remaining;
      readonly refused?: Refused;
      readonly tooLarge?: TooLarge;
    }
  | { readonly kind: 'conflict' }
  | { readonly kind: 'unknown_pipeline'; readonly pipelines: readonly string[] }
  | UnsoundBudgets;

export type EndReply =
  | { readonly kind: 'ended'; readonly admission: Admission }
  /** It has ended otherwise: another amount, settled instead of cancelled, … */
  | { readonly kind: 'over'; readonly admission: Admission }
  /** Nothing has changed: with it, what is used at this level in the open window would no longer be an exact number. */
  | { readonly kind: 'no_room'; readonly level: string }
  /** `kept`: the end waits for its beginning; it is the one that came first, so maybe another one than was asked for. */
  | { readonly kind: 'not_found'; readonly kept?: KeptEnd };

export type BudgetsPutReply =
  | { readonly kind: 'applied'; readonly config: BudgetConfig }
  | { readonly kind: 'version_conflict'; readonly version: number }
  /** With those that were used in the open window there would be more than WINDOW_LEVELS_MAX. */
  | { readonly kind: 'too_many_levels'; readonly resetsAt: number };
