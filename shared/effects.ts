import type { Priority } from './state/budget-config.js';

/**
 * What a fold wants to happen besides the new state. Effects are data: the worker turns them into the commands
 * of one commit, so that they happen with the state or not at all.
 */
export type Effect =
  | ReplyEffect
  | TimerEffect
  | CancelTimerEffect
  | EmitEffect
  | IndexEffect
  | UnindexEffect
  | CountEffect;

/** Answer the API process that waits. `to` is the message's `reply` field, unchanged. */
export interface ReplyEffect {
  readonly kind: 'reply';
  readonly to: string;
  readonly body: object;
}

/** Set (or move) the timer `id`, due at `dueAt` (ms since the epoch). */
export interface TimerEffect {
  readonly kind: 'timer';
  readonly id: string;
  readonly dueAt: number;
}

export interface CancelTimerEffect {
  readonly kind: 'cancel_timer';
  readonly id: string;
}

/** Append to the partition's outbox. */
export interface EmitEffect {
  readonly kind: 'emit';
  readonly type: string;
  readonly body: object;
  /** With others of its type that follow it in the step it shares an outbox entry, whose body is an array. */
  readonly joins?: true;
}

/** Put `member` into the partition's secondary index `index`, scored by `score` (ms). */
export interface IndexEffect {
  readonly kind: 'index';
  readonly index: string;
  readonly member: string;
  readonly score: number;
}

export interface UnindexEffect {
  readonly kind: 'unindex';
  readonly index: string;
  readonly member: string;
}

/** Add to a counter, once the commit is confirmed. Lost with the process: counters are for seeing, not billing. */
export type CountEffect = RuleCountEffect | RuleErrorEffect | UsageCountEffect | AdmissionCountEffect;

export const RULE_COUNTS = ['rule_hits', 'rule_shadow_hits', 'rule_denied', 'restrictions_lifted'] as const;

export interface RuleCountEffect {
  readonly kind: 'count';
  readonly metric: (typeof RULE_COUNTS)[number];
  readonly rule: string;
}

/** Something of a rule threw. It is logged, too. */
export interface RuleErrorEffect {
  readonly kind: 'count';
  readonly metric: 'rule_errors';
  readonly rule: string;
  readonly error: string;
}

export interface UsageCountEffect {
  readonly kind: 'count';
  readonly metric: 'late_events' | 'cold_events' | 'other_dimension' | 'windows_closed' | 'windows_revised';
  readonly by?: number;
}

const ADMISSION_COUNTS = [
  'admission_allow',
  'admission_allow_degraded',
  'admission_reject',
  'admission_retry',
  'admission_conflict',
  'admission_settled',
  'admission_cancelled',
  'admission_expired',
  'admission_late_settle',
  'admission_failed_open',
  'budget_resets',
  'granted_tokens',
  'overrun_tokens',
  'failed_open_tokens',
] as const;

/** `admission_<decision>` counts requests by decision and priority; the others what became of them. */
export interface AdmissionCountEffect {
  readonly kind: 'count';
  readonly metric: (typeof ADMISSION_COUNTS)[number];
  readonly by?: number;
  /** Of `admission_allow`, `admission_allow_degraded` and `admission_reject`. */
  readonly priority?: Priority;
}

const admissionCounts: ReadonlySet<string> = new Set(ADMISSION_COUNTS);

export function isAdmissionCount(
  effect: UsageCountEffect | AdmissionCountEffect,
): effect is AdmissionCountEffect {
  return admissionCounts.has(effect.metric);
}
