import type { AdmissionCountEffect } from '../../shared/effects.js';
import {
  type AdmissionRequest,
  type AdmitReply,
  admissionKey,
  type EvaluateReply,
  FLEETING_MS,
  isGivenUndecided,
  type Refused,
} from '../../shared/messages/admissions.js';
import type { Priority } from '../../shared/state/budget-config.js';
import type { Admission, BudgetWindow, Decision, RefusedBy } from '../../shared/state/budget-state.js';
import { findAdmission, withAlias } from './admission-document.js';
import type { Books } from './books.js';
import { availableAt, decide, degradedDebit, tooLarge } from './decide.js';
import { endAsKept, keepUntil } from './end.js';
import type { Path } from './levels.js';
import { sameRequest } from './same-request.js';
import { useOf } from './window.js';

type Evaluated = Extract<EvaluateReply, { readonly kind: 'evaluated' }>;

const counts = (
  metric: AdmissionCountEffect['metric'],
): Readonly<Record<Priority, AdmissionCountEffect>> => ({
  P0: { kind: 'count', metric, priority: 'P0' },
  P1: { kind: 'count', metric, priority: 'P1' },
  P2: { kind: 'count', metric, priority: 'P2' },
});
const DECIDED: Readonly<Record<Decision, Readonly<Record<Priority, AdmissionCountEffect>>>> = {
  ALLOW: counts('admission_allow'),
  ALLOW_DEGRADED: counts('admission_allow_degraded'),
  REJECT: counts('admission_reject'),
};

/**
 * Decides a request. What is granted is held until it is settled, and granted once: an identical retry gets it as it is
 * now. A refusal has debited nothing: its retry is decided anew, by what is used now.
 */
export function admit(books: Books, request: AdmissionRequest): AdmitReply {
  const { priority } = request;
  const known = sameRequest(books, request.admission);
  if (known !== undefined && !isRetry(books, known, request)) return { kind: 'conflict' };
  if (known !== undefined && known.status !== 'refused') return retryOfAdmit(books, known, request.admission);
  if (books.config.unsound === true) return { kind: 'unsound_budgets' };
  const { tree } = books;
  const path = tree.paths.get(request.pipeline);
  if (path === undefined) return { kind: 'unknown_pipeline', pipelines: tree.pipelines };
  const never = tooLarge(tree, path, request);
  if (never !== undefined) {
    books.countDecision(DECIDED.REJECT[priority]);
    return { kind: 'too_large', ...never };
  }
  const decided = decideNew(books, request, path, 'held', known);
  if (decided.refusedBy !== null) return { kind: 'refused', ...refusal(decided, decided.refusedBy) };
  return admitted(books, decided, request.admission, true);
}

/** The same for callers that never come back: what is granted is settled at once. */
export function evaluate(books: Books, request: AdmissionRequest): EvaluateReply {
  const { priority } = request;
  const { tree } = books;
  const path = tree.paths.get(request.pipeline);
  const evaluated = (
    decision: Decision,
    granted: number,
    rest: Pick<Evaluated, 'refused' | 'tooLarge'> = {},
  ): Evaluated => ({
    kind: 'evaluated',
    decision,
    granted,
    remaining: books.remaining(path, priority),
    ...rest,
  });
  const known = sameRequest(books, request.admission);
  if (known !== undefined && !isRetry(books, known, request)) return { kind: 'conflict' };
  if (known !== undefined && known.status !== 'refused') {
    const { decision, granted } = askedAgain(books, known);
    return evaluated(decision, granted);
  }
  if (books.config.unsound === true) return { kind: 'unsound_budgets' };
  if (path === undefined) return { kind: 'unknown_pipeline', pipelines: tree.pipelines };
  const never = tooLarge(tree, path, request);
  if (never !== undefined) {
    books.countDecision(DECIDED.REJECT[priority]);
    return evaluated('REJECT', 0, { tooLarge: never });
  }
  const decided = decideNew(books, request, path, 'settled', known);
  const { decision, granted, refusedBy } = decided;
  return evaluated(decision, granted, refusedBy === null ? {} : { refused: refusal(decided, refusedBy) });
}

/** Holds (or charges) tokens that were granted and not debited yet, and remembers the admission. */
export function grant(books: Books, window: BudgetWindow, admission: Admission): void {
  const { granted, status, charged, failedOpen, path, decision, estimated } = admission;
  const holds = status === 'held';
  books.post(window, admission, {
    kind: failedOpen === null ? 'grant' : 'fail_open',
    held: holds ? granted : 0,
    settled: Math.min(granted, charged ?? 0),
    tokens: estimated,
  });
  for (const name of path) {
    const use = useOf(window, name);
    use.admitted += 1;
    if (decision === 'ALLOW_DEGRADED') use.degraded += 1;
  }
  if (!holds) return;
  window.holds += 1;
  books.setHoldTimer(admissionKey(admission.ids[0]!), admission.expiresAt!);
}

/** An admission in the open window that nothing was debited for yet. */
export function newAdmission(
  books: Books,
  request: AdmissionRequest,
  path: readonly string[],
  what: Pick<Admission, 'status' | 'decision' | 'granted' | 'window'>,
): Admission {
  const { at } = books;
  const { settings } = books.context;
  const held = what.status === 'held';
  const { fleeting = false } = request;
  const dedupeUntil = at + (request.dedupeMs ?? (fleeting ? FLEETING_MS : settings.dedupeMs));
  return {
    ids: [request.admission],
    status: what.status,
    decision: what.decision,
    pipeline: request.pipeline,
    priority: request.priority,
    path,
    estimated: request.estimated,
    granted: what.granted,
    window: what.window,
    at,
    expiresAt: held ? at + (request.holdMs ?? settings.holdMs ?? books.windowMs) : null,
    endedAt: held ? null : at,
    charged: held ? null : what.granted,
    overrun: 0,
    expiry: null,
    failedOpen: null,
    refusedBy: null,
    body: request.body,
    attempts: 1,
    dedupeUntil,
    keepUntil: held
      ? null
      : fleeting
        ? Math.max(dedupeUntil, at + FLEETING_MS)
        : keepUntil(books, dedupeUntil),
  };
}

/** @param before its refusal, where it was refused: what is decided now takes its place */
function decideNew(
  books: Books,
  request: AdmissionRequest,
  path: Path,
  status: 'held' | 'settled',
  before: Admission | undefined,
): Admission {
  const { priority, estimated } = request;
  const window = books.openWindow();
  const attempts = (before?.attempts ?? 0) + 1;
  const remember = (admission: Admission): void =>
    before === undefined ? books.add(admission) : books.change(before, admission);
  const verdict = decide(path, window, request);
  if (typeof verdict === 'object') {
    const refusedBy = {
      level: verdict.name,
      available: availableAt(verdict, window, priority),
      resetsAt: window.end,
      version: books.config.version,
    };
    // However often it is asked again in this window.
    if (before?.window !== window.start) {
      useOf(window, verdict.name).refused += 1;
      books.countDecision(DECIDED.REJECT[priority]);
    }
    const refused = { ...refusedAdmission(books, request, path, refusedBy), attempts };
    if (request.keyed && (request.fleeting !== true || request.dedupeMs !== undefined)) remember(refused);
    return refused;
  }
  const granted = verdict === 'ALLOW' ? estimated : degradedDebit(estimated, books.config.degradedDebit);
  const what = { status, decision: verdict, granted, window: window.start };
  const admission = { ...newAdmission(books, request, path.names, what), attempts };
  grant(books, window, admission);
  books.countDecision(DECIDED[verdict][priority]);
  books.count('granted_tokens', granted);
  if (status === 'held' || request.keyed) remember(admission);
  return admission;
}

/** A refusal is remembered so that retries are counted as such, for as long as they come within the dedupe time. */
function refusedAdmission(
  books: Books,
  request: AdmissionRequest,
  { names }: Path,
  refusedBy: RefusedBy,
): Admission {
  const what = {
    status: 'refused',
    decision: 'REJECT',
    granted: 0,
    window: books.openWindow().start,
  } as const;
  const admission = newAdmission(books, request, names, what);
  return { ...admission, refusedBy, keepUntil: admission.dedupeUntil };
}

function retryOfAdmit(books: Books, known: Admission, id: string): AdmitReply {
  const again = askedAgain(books, known);
  // Its report would find the same admission; it is lost if the process that gave this id ends before.
  const joins = isGivenUndecided(id) && (again.status === 'held' || again.status === 'settled');
  const ids = joins ? withAlias(again.ids, id) : again.ids;
  if (ids === again.ids) return admitted(books, again, id, false);
  const joined = { ...again, ids };
  books.change(again, joined);
  return admitted(books, joined, id, false);
}

/** The end that was kept for an id of it need not wait for the report: there is what it ends. */
function admitted(books: Books, decided: Admission, id: string, fresh: boolean): AdmitReply {
  if (decided.ids.includes(id)) endAsKept(books, id);
  const admission = findAdmission(books.admissions, id, books.at) ?? decided;
  const { status, pipeline, priority } = admission;
  if (status === 'expired' || status === 'cancelled') return { kind: 'over', admission };
  const remaining = books.remaining(books.tree.paths.get(pipeline), priority);
  return { kind: 'admitted', fresh, admission, remaining };
}

/** False: it is another request with the same key. */
function isRetry(books: Books, known: Admission, { body }: AdmissionRequest): boolean {
  const isSame = known.body === body;
  books.count(isSame ? 'admission_retry' : 'admission_conflict');
  return isSame;
}

function askedAgain(books: Books, known: Admission): Admission {
  const again = { ...known, attempts: known.attempts + 1 };
  books.change(known, again);
  return again;
}

function refusal({ at, attempts }: Admission, by: RefusedBy): Refused {
  return { by, retryAfterMs: by.resetsAt - at, attempts };
}
