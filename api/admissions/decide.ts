import { nanoid } from 'nanoid';
import type { Config } from '../../shared/config.js';
import { type AdmissionRequest, admissionKey } from '../../shared/messages/admissions.js';
import type { Message } from '../../shared/messages/message.js';
import { Refusal } from '../refusal.js';
import { conflict } from './admission-answers.js';
import type { AdmissionMetrics } from './admission-metrics.js';
import { type AskDependencies, askWorker, type Undecided, type UndecidedReason } from './ask-worker.js';
import type { AskedRequest, FailOpen, Given } from './fail-open.js';

export interface DecideDependencies extends AskDependencies {
  readonly failMode: Config['FAIL_MODE'];
  readonly failOpen: FailOpen;
  readonly metrics: AdmissionMetrics;
}

export type Verdict =
  | {
      readonly kind: 'decided';
      readonly reply: unknown;
      /** The id that was asked with. */
      readonly admission: string;
    }
  | {
      readonly kind: 'failed_open';
      readonly reason: UndecidedReason;
      readonly given: Given;
      /** False: an identical retry. */
      readonly fresh: boolean;
    };

/**
 * Has a request decided by the worker of its tenant's partition; where none does in time, by FAIL_MODE.
 * @throws Refusal undecided, backlog_full, overloaded, idempotency_conflict
 */
export async function decide(dependencies: DecideDependencies, asked: AskedRequest): Promise<Verdict> {
  const { failOpen, failMode, metrics } = dependencies;
  const request = asked.repeatable ? withKnownId(failOpen, asked) : asked;
  const { type, tenant, data, requestId } = request;
  const message: Message<AdmissionRequest> = {
    ...{ type, tenant, subject: tenant, id: nanoid(), data, request: requestId },
  };
  const answer = await askWorker(dependencies, request.slot, message);
  if (answer.kind === 'decided') {
    if (asked.repeatable) failOpen.decided(tenant, data.admission);
    return { kind: 'decided', reply: answer.reply, admission: data.admission };
  }
  const { reason } = answer;
  if (failMode === 'open') {
    const open = await failOpen.give(request, answer);
    if (open.kind === 'conflict') throw conflict();
    if (open.kind === 'given') {
      metrics.countUndecided(reason, 'allow');
      return { kind: 'failed_open', reason, given: open.given, fresh: open.fresh };
    }
  }
  metrics.countUndecided(reason, 'refuse');
  failOpen.abandon(request, answer);
  throw refusalOf(answer, failMode);
}

/** An admission that was given undecided keeps its id when its retry is decided. */
function withKnownId(failOpen: FailOpen, request: AskedRequest): AskedRequest {
  const admission = failOpen.idOf(request.tenant, admissionKey(request.data.admission));
  return admission === undefined ? request : { ...request, data: { ...request.data, admission } };
}

const DETAILS: Readonly<Record<UndecidedReason, string>> = {
  no_worker: 'No worker has decided in time.',
  store_unavailable: 'The store does not answer, so nobody could decide.',
  backlog_full: 'Too many requests wait for the workers already.',
};

function refusalOf({ reason, refusal }: Undecided, failMode: Config['FAIL_MODE']): Refusal {
  if (refusal !== undefined && failMode === 'closed') return refusal;
  return new Refusal('undecided', DETAILS[reason], { members: { retryable: true, reason } });
}
