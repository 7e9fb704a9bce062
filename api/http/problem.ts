import type { Request, Response } from 'express';
import { StoreUnavailable } from '../../shared/redis/store-unavailable.js';
import { NewerDocumentError } from '../../shared/state/state-codec.js';
import { Refusal, type RefusalCode } from '../refusal.js';
import { boundDiscard } from './body.js';
import { sendText } from './respond.js';

/** The one place where codes become statuses. Titles are fixed per code; `detail` speaks of the request. */
const PROBLEMS: Readonly<Record<RefusalCode, readonly [status: number, title: string]>> = {
  malformed_json: [400, 'Malformed JSON'],
  invalid_request: [422, 'Invalid request'],
  unknown_event: [422, 'Unknown event'],
  unknown_feature: [422, 'Unknown feature'],
  timestamp_in_future: [422, 'Timestamp in the future'],
  timestamp_too_old: [422, 'Timestamp too old'],
  tenant_mismatch: [403, 'Tenant mismatch'],
  cross_site: [403, 'Cross-site request'],
  wrong_host: [421, 'Wrong host'],
  range_too_large: [422, 'Range too large'],
  receipt_not_found: [404, 'Receipt not found'],
  ambiguous_event: [409, 'Ambiguous event'],
  unknown_rule: [404, 'Unknown rule'],
  rule_removed: [409, 'Rule removed'],
  not_found: [404, 'Not found'],
  dead_letter_not_found: [404, 'Dead letter not found'],
  not_replayable: [409, 'Not replayable'],
  unknown_pipeline: [400, 'Unknown pipeline'],
  budget_exhausted: [429, 'Budget exhausted'],
  request_too_large: [422, 'Request too large'],
  idempotency_conflict: [422, 'Idempotency conflict'],
  admission_over: [409, 'Admission over'],
  admission_not_found: [404, 'Admission not found'],
  undecided: [503, 'Undecided'],
  version_conflict: [409, 'Version conflict'],
  method_not_allowed: [405, 'Method not allowed'],
  unsupported_media_type: [415, 'Unsupported media type'],
  body_too_large: [413, 'Body too large'],
  backlog_full: [429, 'Backlog full'],
  store_unavailable: [503, 'Store unavailable'],
  wrong_database: [503, 'Wrong database'],
  overloaded: [503, 'Overloaded'],
  internal_error: [500, 'Internal error'],
};

/** Seconds after which a refusal that passes by itself is worth another try, unless it says so itself. */
const RETRY_AFTER_SECONDS = 1;

export function statusOf(code: RefusalCode): number {
  return PROBLEMS[code][0];
}

/** Any error as a refusal. What we did not foresee becomes `internal_error`, which tells nothing about it. */
export function toRefusal(error: unknown): Refusal {
  if (error instanceof Refusal) return error;
  if (error instanceof StoreUnavailable) return new Refusal('store_unavailable', error.detail);
  if (error instanceof NewerDocumentError) {
    return new Refusal('store_unavailable', 'This process is older than the data; a newer one can answer.');
  }
  if (error instanceof URIError) {
    return new Refusal('invalid_request', 'The path holds malformed percent-encoding.', {
      errors: [{ path: 'path', message: 'holds malformed percent-encoding' }],
    });
  }
  return new Refusal('internal_error', 'Something went wrong here. The log has it under the request id.');
}

/** Answers with RFC 9457 problem+json. */
export function sendProblem(req: Request, res: Response, refusal: Refusal): void {
  const { code, extras } = refusal;
  const status = PROBLEMS[code][0];
  const headers: string[] = [];
  if (extras.allow !== undefined) headers.push('Allow', extras.allow);
  if (status === 429 || status === 503) {
    headers.push('Retry-After', String(extras.retryAfterSeconds ?? RETRY_AFTER_SECONDS));
  }
  // An answer may leave while the body still comes in: it is thrown away, up to a bound.
  if (!req.complete) boundDiscard(req);
  const body = JSON.stringify(problemDocument(refusal, req.requestId));
  sendText(req, res, status, 'application/problem+json', body, headers);
}

export function problemDocument({ code, detail, extras }: Refusal, requestId: string): object {
  const [status, title] = PROBLEMS[code];
  return {
    type: `urn:weir:problem:${code}`,
    title,
    status,
    detail,
    code,
    request_id: requestId,
    ...(extras.errors === undefined ? {} : { errors: extras.errors }),
    ...extras.members,
  };
}
