/**
 * Why a request is refused, in words that know nothing of HTTP: a stable code and a sentence. The status of each
 * code is in `http/problem.ts`, the only place that maps them.
 */
export type RefusalCode =
  | 'malformed_json'
  | 'invalid_request'
  | 'unknown_event'
  | 'unknown_feature'
  | 'timestamp_in_future'
  | 'timestamp_too_old'
  | 'tenant_mismatch'
  | 'cross_site'
  | 'wrong_host'
  | 'range_too_large'
  | 'receipt_not_found'
  | 'ambiguous_event'
  | 'unknown_rule'
  | 'rule_removed'
  | 'not_found'
  | 'dead_letter_not_found'
  | 'not_replayable'
  | 'unknown_pipeline'
  | 'budget_exhausted'
  | 'request_too_large'
  | 'idempotency_conflict'
  | 'admission_over'
  | 'admission_not_found'
  | 'undecided'
  | 'version_conflict'
  | 'method_not_allowed'
  | 'unsupported_media_type'
  | 'body_too_large'
  | 'backlog_full'
  | 'store_unavailable'
  | 'wrong_database'
  | 'overloaded'
  | 'internal_error';

/** One defect of a request: where (dotted path, parameter name) and what. */
export interface Defect {
  readonly path: string;
  readonly message: string;
}

export interface RefusalExtras {
  readonly errors?: readonly Defect[];
  /** When trying again makes sense. */
  readonly retryAfterSeconds?: number;
  /** More members of the problem document. */
  readonly members?: Readonly<Record<string, unknown>>;
  /** Methods a resource has. */
  readonly allow?: string;
}

export class Refusal extends Error {
  constructor(
    readonly code: RefusalCode,
    readonly detail: string,
    readonly extras: RefusalExtras = {},
  ) {
    super(detail);
    this.name = 'Refusal';
  }
}

/** `invalid_request` with one defect. */
export function invalid(path: string, message: string): Refusal {
  return new Refusal('invalid_request', path === '' ? `The request ${message}.` : `${path} ${message}.`, {
    errors: [{ path, message }],
  });
}
