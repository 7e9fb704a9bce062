import type { Refused, Remaining, TooLarge } from '../../shared/messages/admissions.js';
import type { Admission } from '../../shared/state/budget-state.js';
import { invalid, Refusal } from '../refusal.js';
import { isoTime, isoTimeOrNull } from '../restrictions/user-view.js';
import type { UndecidedReason } from './ask-worker.js';
import type { AskedRequest, Given } from './fail-open.js';

interface AdmissionView {
  readonly admission_id: string;
  readonly [member: string]: unknown;
}

/** An admission as it is shown. @param asked the id that the caller knows it by, if that is one of its ids */
export function admissionView(admission: Admission, asked: string): AdmissionView {
  const { pipeline, priority, failedOpen, expiry } = admission;
  return {
    admission_id: admission.ids.includes(asked) ? asked : admission.ids[0]!,
    status: admission.status,
    decision: admission.decision,
    ...{ pipeline, priority },
    estimated_tokens: admission.estimated,
    granted_tokens: admission.granted,
    // null: held.
    charged_tokens: admission.charged,
    overrun_tokens: admission.overrun,
    levels: admission.path,
    attempts: admission.attempts,
    window_started_at: isoTime(admission.window),
    created_at: isoTime(admission.at),
    expires_at: isoTimeOrNull(admission.expiresAt),
    ended_at: isoTimeOrNull(admission.endedAt),
    ...(expiry === null ? {} : { expiry }),
    ...(failedOpen === null ? {} : { failed_open_tokens: failedOpen }),
  };
}

/** An admission that nobody has decided: allowed, for the whole estimate. */
export function givenView({ data }: AskedRequest, given: Given, reason: UndecidedReason): object {
  return {
    admission_id: given.admission,
    ...{ status: 'held', decision: 'ALLOW' },
    ...{ pipeline: data.pipeline, priority: data.priority },
    estimated_tokens: data.estimated,
    granted_tokens: data.estimated,
    attempts: given.attempts,
    expires_at: isoTime(given.expiresAt),
    // Nobody knows.
    remaining: {},
    context: degradedContext(reason),
  };
}

/** Says that an answer is no decision, and why. */
export function degradedContext(reason: UndecidedReason): object {
  return { degraded: true, reason };
}

/** Tokens by level, the root first. */
export function remainingView(remaining: Remaining): object {
  return Object.fromEntries(remaining);
}

/** A refusal of evaluate, which is no error there. */
export function refusedContext(
  refused: Refused | undefined,
  tooLarge: TooLarge | undefined,
): object | undefined {
  if (refused !== undefined) return { reason: 'budget_exhausted', ...exhausted(refused) };
  return tooLarge === undefined ? undefined : { reason: 'request_too_large', ...oversized(tooLarge) };
}

export function budgetExhausted(refused: Refused): Refusal {
  return new Refusal('budget_exhausted', `The budget of ${refused.by.level} is used up for now.`, {
    retryAfterSeconds: Math.max(1, Math.ceil(refused.retryAfterMs / 1000)),
    members: exhausted(refused),
  });
}

export function requestTooLarge(tooLarge: TooLarge): Refusal {
  const { level, tokensMax } = tooLarge;
  return new Refusal(
    'request_too_large',
    `No request of this pipeline and priority may have more than ${tokensMax} tokens; ${level} is the first level that refuses it.`,
    {
      members: oversized(tooLarge),
    },
  );
}

function exhausted({ by, attempts }: Refused): Readonly<Record<string, unknown>> {
  const { level, available, resetsAt } = by;
  return { retryable: true, level, available, resets_at: isoTime(resetsAt), attempts };
}

function oversized({ level, tokensMax }: TooLarge): Readonly<Record<string, unknown>> {
  return { retryable: false, level, tokens_max: tokensMax };
}

export function conflict(): Refusal {
  return new Refusal('idempotency_conflict', 'This request_id was used with another body.', {
    members: { retryable: false },
  });
}

/** @param asked see `admissionView` */
export function admissionOver(admission: Admission, asked: string): Refusal {
  const view = admissionView(admission, asked);
  return new Refusal('admission_over', `The admission is ${admission.status} already.`, {
    // `status` is HTTP's.
    members: { retryable: false, admission_id: view.admission_id, admission: view },
  });
}

/** Another end waits for the admission to be known. @param actual tokens; null: cancelled */
export function endsOtherwise(asked: string, actual: number | null): Refusal {
  const how = actual === null ? 'cancelled' : `settled with ${actual} tokens`;
  return new Refusal('admission_over', `The admission is ${how} already.`, {
    members: { retryable: false, admission_id: asked },
  });
}

/** What is used in a window is an exact number, however much is settled beyond what was granted. */
export function noRoom(level: string): Refusal {
  return invalid('actual_tokens', `would make what is used at ${level} in this window more than 2^53 - 1`);
}

/** During a rolling deploy a newer worker may answer what this process has no words for: its successor will have them. */
export function unknownReply(_reply: never): Refusal {
  return new Refusal('undecided', 'A newer worker has answered what this process does not know.', {
    members: { retryable: true, reason: 'newer_worker' },
  });
}

/** Only who may `PUT /budgets` can mend it; until then nothing is admitted, and nothing given on trust. */
export function unsoundBudgets(): Refusal {
  return new Refusal('undecided', 'What is stored as the budgets of this tenant is broken.', {
    members: { retryable: true, reason: 'unsound_budgets' },
  });
}

export function unknownPipeline(pipelines: readonly string[]): Refusal {
  return new Refusal('unknown_pipeline', 'There is no pipeline of this name.', {
    errors: [{ path: 'pipeline', message: 'is not a pipeline' }],
    members: { retryable: false, pipelines },
  });
}
