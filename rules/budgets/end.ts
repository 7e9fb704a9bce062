import {
  admissionKey,
  type CancelRequest,
  type EndReply,
  keptMs,
  type SettleRequest,
} from '../../shared/messages/admissions.js';
import { isYoung } from '../../shared/messages/given-minute.js';
import type { Admission, AdmissionStatus, KeptEnd } from '../../shared/state/budget-state.js';
import { findAdmission, findEnd, withEnd, withoutEnd } from './admission-document.js';
import type { Books } from './books.js';
import { fullLevel } from './window.js';

/**
 * An admission's life:
 *
 *   (none) ── admit ──► held ── settle ──► settled
 *     │                  │ ── cancel ────► cancelled ◄──────────────┐
 *     │                  └── its hold's timer ──► expired ── cancel ┘
 *     │                                              └── settle ──► settled   (late)
 *     ├── evaluate ──► settled
 *     ├── refused by a level ──► refused ── failed_open ──► held, settled
 *     └── given undecided: an end that comes before its `failed_open` is kept ── failed_open ──► settled, cancelled
 */
export function settle(books: Books, { admission: id, actual }: SettleRequest): EndReply {
  const admission = findAdmission(books.admissions, id, books.at);
  if (admission === undefined || admission.status === 'refused') return endUnknown(books, id, actual);
  if (admission.status === 'settled' && admission.charged === actual) return { kind: 'ended', admission };
  if (admission.status === 'settled' || admission.status === 'cancelled') return { kind: 'over', admission };
  const more = admission.expiry === 'release' ? actual : Math.max(0, actual - admission.granted);
  const level = fullLevel(books.present?.window ?? null, admission.path, more);
  if (level !== undefined) return { kind: 'no_room', level };
  const settled =
    admission.status === 'held' ? settleHeld(books, admission, actual) : settleLate(books, admission, actual);
  return settled === undefined ? { kind: 'not_found' } : { kind: 'ended', admission: settled };
}

/** Gives back what is held, or what the expiry of the hold has charged. */
export function cancel(books: Books, { admission: id, abandoned }: CancelRequest): EndReply {
  const admission = findAdmission(books.admissions, id, books.at);
  if (admission === undefined || admission.status === 'refused') {
    return abandoned === true ? { kind: 'not_found' } : endUnknown(books, id, null);
  }
  const { status, attempts, failedOpen } = admission;
  if (status === 'cancelled') return { kind: 'ended', admission };
  if (abandoned === true && admission.expiresAt === null) return abandonEvaluation(books, admission);
  // Somebody has heard of it, or it is not open any more.
  const keeps = abandoned === true && (status !== 'held' || attempts > 1 || failedOpen !== null);
  if (status === 'settled' || keeps) return { kind: 'over', admission };
  const cancelled = status === 'held' ? cancelHeld(books, admission) : cancelLate(books, admission);
  return cancelled === undefined ? { kind: 'not_found' } : { kind: 'ended', admission: cancelled };
}

/** The end that was kept for the admission of this id, which is kept no longer. */
export function takeEnd(books: Books, id: string): KeptEnd | undefined {
  const end = findEnd(books.admissions, id, books.at);
  if (end !== undefined) books.changeEnds(withoutEnd(books.admissions!, end));
  return end;
}

/** The end that came before the admission was known holds, once that is. */
export function endAsKept(books: Books, id: string): void {
  const end = findEnd(books.admissions, id, books.at);
  if (end === undefined) return;
  const { actual } = end;
  const { kind } =
    actual === null ? cancel(books, { admission: id }) : settle(books, { admission: id, actual });
  if (kind !== 'no_room') books.changeEnds(withoutEnd(books.admissions!, end));
}

/** A report that is older than what is kept settles at once. This much longer it may be under way, ms. */
const END_SLACK_MS = 60_000;
/** So far may the clock of the process that made an id be behind, ms. */
const BEHIND_MS_MAX = 86_400_000;

/** Who was given an admission undecided may end it before its report is here. The first word holds. */
function endUnknown(books: Books, id: string, actual: number | null): EndReply {
  const { at } = books;
  const keptFor = keptMs(books.context.settings);
  // Anybody can make ids up: a report of one that is older would be charged in full, and nothing is kept for it.
  if (!isYoung(id, at, keptFor + BEHIND_MS_MAX)) return { kind: 'not_found' };
  const known = findEnd(books.admissions, id, at);
  if (known !== undefined) return { kind: 'not_found', kept: known };
  const kept: KeptEnd = { id, actual, until: at + keptFor + END_SLACK_MS };
  books.changeEnds(withEnd(books.admissions, kept, at));
  return { kind: 'not_found', kept };
}

/** The hold's time is over: its tokens are given back, or charged. */
export function expire(books: Books, key: string): void {
  const admission = books.admissions?.admissions.at(-1);
  if (admission?.status !== 'held') return;
  const { granted, expiresAt } = admission;
  if (expiresAt! > books.at) {
    books.setHoldTimer(key, expiresAt!);
    return;
  }
  const expiry = books.context.settings.holdExpiry;
  const charged = expiry === 'charge' ? granted : 0;
  const window = books.windowOfHeld(admission);
  books.endHold(window);
  if (expiry === 'charge') window.refundable += 1;
  books.post(window, admission, { kind: 'expire', held: -granted, settled: charged });
  books.count('admission_expired');
  books.change(admission, { ...ended(books, admission, 'expired', charged), expiry });
}

function settleHeld(books: Books, admission: Admission, actual: number): Admission {
  const { granted, ids } = admission;
  const overrun = Math.max(0, actual - granted);
  const window = books.windowOfHeld(admission);
  books.endHold(window);
  books.post(window, admission, {
    kind: 'settle',
    held: -granted,
    settled: Math.min(actual, granted),
    tokens: actual,
  });
  charge(books, admission, overrun);
  books.cancelHoldTimer(admissionKey(ids[0]!));
  books.count('admission_settled');
  return changed(books, admission, { ...ended(books, admission, 'settled', actual), overrun });
}

/**
 * What was given back when the hold expired counts where it is told, in the open window; what was charged is corrected
 * where it was charged. undefined: that window is not kept any more.
 */
function settleLate(books: Books, admission: Admission, actual: number): Admission | undefined {
  const { granted, expiry } = admission;
  let overrun = 0;
  if (expiry === 'release') {
    books.post(books.openWindow(), admission, {
      kind: 'late_settle',
      held: 0,
      settled: actual,
      tokens: actual,
    });
  } else {
    const window = books.windowOf(admission);
    if (window === undefined) return undefined;
    window.refundable -= 1;
    const settled = Math.min(0, actual - granted);
    books.post(window, admission, { kind: 'late_settle', held: 0, settled, tokens: actual });
    overrun = Math.max(0, actual - granted);
    charge(books, admission, overrun);
  }
  books.count('admission_late_settle');
  return changed(books, admission, { ...ended(books, admission, 'settled', actual), overrun });
}

function cancelHeld(books: Books, admission: Admission): Admission {
  const { granted, ids } = admission;
  const window = books.windowOfHeld(admission);
  books.endHold(window);
  books.post(window, admission, { kind: 'cancel', held: -granted, settled: 0 });
  books.cancelHoldTimer(admissionKey(ids[0]!));
  books.count('admission_cancelled');
  return changed(books, admission, ended(books, admission, 'cancelled', 0));
}

/** Nobody heard that it was granted: in a window that is over nothing more can be decided with what it gives back. */
function abandonEvaluation(books: Books, admission: Admission): EndReply {
  const { attempts, failedOpen, granted, window } = admission;
  const isOpen = books.present?.window?.start === window;
  if (!isOpen || attempts > 1 || failedOpen !== null) return { kind: 'over', admission };
  books.post(books.openWindow(), admission, { kind: 'cancel', held: 0, settled: -granted });
  books.count('admission_cancelled');
  const after = { ...admission, status: 'cancelled', charged: 0, endedAt: books.at } as const;
  return { kind: 'ended', admission: changed(books, admission, after) };
}

/** Undefined: what the expiry charged cannot be given back any more. */
function cancelLate(books: Books, admission: Admission): Admission | undefined {
  if (admission.expiry === 'release') {
    // Nothing changes but the admission: the entry is about the window in which it was told.
    books.post(books.openWindow(), admission, { kind: 'cancel', held: 0, settled: 0 });
  } else {
    const window = books.windowOf(admission);
    if (window === undefined) return undefined;
    window.refundable -= 1;
    books.post(window, admission, { kind: 'cancel', held: 0, settled: -admission.granted });
  }
  books.count('admission_cancelled');
  return changed(books, admission, ended(books, admission, 'cancelled', 0));
}

/** Tokens beyond what was granted are used now, whatever the budget says. */
export function charge(books: Books, admission: Admission, overrun: number): void {
  if (overrun === 0) return;
  books.post(books.openWindow(), admission, { kind: 'overrun', held: 0, settled: overrun });
  books.count('overrun_tokens', overrun);
}

export function ended(
  books: Books,
  admission: Admission,
  status: AdmissionStatus,
  charged: number,
): Admission {
  const until = keepUntil(books, admission.dedupeUntil);
  return { ...admission, status, charged, endedAt: books.at, keepUntil: until };
}

/** How long an admission that ends now is readable, ms since the epoch. */
export function keepUntil({ at, context }: Books, dedupeUntil: number): number {
  return Math.max(dedupeUntil, at + keptMs(context.settings));
}

function changed(books: Books, before: Admission, after: Admission): Admission {
  books.change(before, after);
  return after;
}
