import { LivedTimeout } from '../../shared/lived-time.js';
import {
  type AdmissionRequest,
  admissionKey,
  CANCEL,
  type CancelRequest,
  EVALUATE,
  FAILED_OPEN,
  type FailedOpen,
} from '../../shared/messages/admissions.js';
import type { Message } from '../../shared/messages/message.js';
import type { Slot } from '../slots.js';
import { type AskedType, undecidedId } from './admission-key.js';
import type { AdmissionMetrics } from './admission-metrics.js';
import type { Undecided } from './ask-worker.js';
import { FailOpenAllowance } from './fail-open-allowance.js';
import { FailOpenReports, type ReportOptions } from './fail-open-reports.js';

export interface FailOpenOptions extends ReportOptions {
  readonly metrics: AdmissionMetrics;
  /** BUDGET_WINDOW_SECONDS, ms. */
  readonly windowMs: number;
  /** FAIL_OPEN_TOKENS_MAX: in each window, over all tenants. */
  readonly tokensMax: number;
  /** ADMISSION_DEDUPE_SECONDS, ms: after it the same request is another one. */
  readonly dedupeMs: number;
  /** How long an answer waits for its report to be in the stream, ms. */
  readonly recordDeadlineMs: number;
  /** How long an admission is held that does not say it, ms. */
  readonly holdMs: number;
}

/** A request as it was sent, or would have been. */
export interface AskedRequest {
  readonly type: AskedType;
  readonly tenant: string;
  readonly slot: Slot;
  readonly data: AdmissionRequest;
  /** The caller can ask for the very same again: by its request id or its payload. */
  readonly repeatable: boolean;
  /** `X-Request-Id` */
  readonly requestId: string;
}

/** An admission that nobody has decided. */
export interface Given {
  readonly admission: string;
  /** Hash of the request's body. */
  readonly body: string;
  /** ms; by this process' clock, so about. */
  readonly expiresAt: number;
  attempts: number;
  /** It is in the stream, or that was tried. */
  readonly recorded: Promise<void>;
}

export type FailOpenAnswer =
  | { readonly kind: 'given'; readonly given: Given; readonly fresh: boolean }
  /** The same request id with another body. */
  | { readonly kind: 'conflict' }
  /** The allowance is used up. */
  | { readonly kind: 'none' };

/**
 * Answers requests that nobody could decide (FAIL_MODE=open), and lets the workers know.
 *
 *   undecided ──> allowance ──(used up)──> none
 *                     └──> recorded in the stream, where the store is there; else waiting in memory ──> given
 *   given ──(the dedupe time, the window's end, a worker's decision)──> forgotten: the next retry is asked anew
 *
 * What is given is bounded by the allowance, per process and window; and by the reports that may wait, for what was
 * given is charged when its report is folded. A process that dies takes the reports that wait with it.
 */
export class FailOpen {
  private readonly reports: FailOpenReports;
  private readonly allowance: FailOpenAllowance<Given>;

  constructor(private readonly options: FailOpenOptions) {
    const { windowMs, tokensMax, dedupeMs, reportsMax, metrics } = options;
    this.reports = new FailOpenReports(options);
    this.allowance = new FailOpenAllowance({
      ...{ windowMs, tokensMax, rememberedMax: reportsMax, rememberedMs: dedupeMs },
    });
    metrics.watchUnreported(() => this.reports.unreported);
  }

  start(): void {
    this.reports.start();
  }

  /** Sends what waits, once more. */
  stop(): Promise<void> {
    return this.reports.stop();
  }

  /** The id under which this process has admitted the same request not long ago, undecided. */
  idOf(tenant: string, key: string): string | undefined {
    if (this.allowance.isEmpty) return undefined;
    return this.allowance.known(Date.now(), nameOf(tenant, key))?.admission;
  }

  /** A worker's word about this admission, or its key: from now on that holds, not what was given here. */
  decided(tenant: string, admission: string): void {
    // As nearly always.
    if (this.allowance.isEmpty) return;
    this.allowance.forget(nameOf(tenant, admissionKey(admission)));
  }

  /** Admits a request out of the allowance. Waits for its report where the store is there, but not for long. */
  async give(request: AskedRequest, undecided: Undecided): Promise<FailOpenAnswer> {
    const { tenant, data, repeatable } = request;
    const nowMs = Date.now();
    const name = repeatable ? nameOf(tenant, admissionKey(data.admission)) : undefined;
    const known = name === undefined ? undefined : this.allowance.known(nowMs, name);
    if (known !== undefined) {
      if (known.body !== data.body) return { kind: 'conflict' };
      known.attempts++;
      await known.recorded;
      return { kind: 'given', given: known, fresh: false };
    }
    if (!this.reports.hasRoom || !this.allowance.take(nowMs, data.estimated)) return { kind: 'none' };
    const given = this.record(request, undecided, nowMs);
    // Before anything is waited for: the next retry must find it.
    if (name !== undefined) this.allowance.remember(nowMs, name, given);
    this.options.metrics.countTokens(data.estimated);
    await given.recorded;
    return { kind: 'given', given, fresh: true };
  }

  /**
   * Nobody hears of a request that was refused undecided: should it be admitted all the same, its tokens are given back.
   * One with a key is not abandoned: a retry gets it.
   */
  abandon({ tenant, slot, data, repeatable, requestId }: AskedRequest, { appending }: Undecided): void {
    if (repeatable || appending === undefined || !this.reports.hasRoom) return;
    const cancel: CancelRequest = { admission: data.admission, abandoned: true };
    const message: Message<CancelRequest> = {
      ...{ type: CANCEL, tenant, subject: tenant, id: `ab-${data.admission}` },
      ...{ data: cancel, request: requestId },
    };
    void this.reports.add({ slot, message, after: appending });
  }

  private record(request: AskedRequest, { reason, appending }: Undecided, nowMs: number): Given {
    const { type, tenant, slot, data, requestId } = request;
    const { recordDeadlineMs, holdMs } = this.options;
    // Also of what is in the stream: the id says that its end may come before this report.
    const admission = undecidedId(admissionKey(data.admission), nowMs);
    const failedOpen: FailedOpen = {
      ...{ ...data, admission, settled: type === EVALUATE },
      ...(appending === undefined ? {} : { asked: data.admission }),
    };
    const message: Message<FailedOpen> = {
      ...{ type: FAILED_OPEN, tenant, subject: tenant, id: `fo-${admission}${data.body}` },
      ...{ data: failedOpen, request: requestId },
    };
    const reported = this.reports.add({ slot, message, after: appending });
    return {
      ...{ admission, body: data.body, attempts: 1 },
      expiresAt: nowMs + (data.holdMs ?? holdMs),
      recorded: reason === 'store_unavailable' ? Promise.resolve() : atMost(reported, recordDeadlineMs),
    };
  }
}

/** A tenant holds no `:`. */
function nameOf(tenant: string, key: string): string {
  return `${tenant}:${key}`;
}

async function atMost(work: Promise<void>, milliseconds: number): Promise<void> {
  let timer: LivedTimeout | undefined;
  const late = new Promise<void>((resolve) => {
    timer = new LivedTimeout(resolve, milliseconds);
  });
  await Promise.race([work, late]);
  timer?.clear();
}
