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
export type CountEffect = RuleCountEffect | UsageCountEffect;

export interface RuleCountEffect {
  readonly kind: 'count';
  readonly metric: 'rule_hits' | 'rule_shadow_hits' | 'rule_denied' | 'restrictions_lifted';
  readonly rule: string;
}

export interface UsageCountEffect {
  readonly kind: 'count';
  readonly metric: 'late_events' | 'cold_events' | 'other_dimension' | 'windows_closed' | 'windows_revised';
  readonly by?: number;
}
