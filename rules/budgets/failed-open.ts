import type { FailedOpen } from '../../shared/messages/admissions.js';
import type { Admission, BudgetWindow, KeptEnd } from '../../shared/state/budget-state.js';
import { findEnd, withAlias } from './admission-document.js';
import { grant, newAdmission } from './admit.js';
import type { Books } from './books.js';
import { charge, endAsKept, ended, takeEnd } from './end.js';
import { reportedRequest } from './same-request.js';
import { requireRoom } from './window.js';

/**
 * A request was answered ALLOW although nobody had decided: what it may spend is debited now, whatever the budget
 * says. Where its decision is known after all, only what that did not grant (e: estimated, g: granted):
 *
 *   | what it is known as      | told of with its id (or `asked`) | given anew, with another id      |
 *   |--------------------------|----------------------------------|----------------------------------|
 *   | nothing, or forgotten    | admitted: e                      | admitted: e                      |
 *   | refused                  | admitted in its place: e         | admitted in its place: e         |
 *   | held                     | e - g more, held in its window   | the same admission: the same     |
 *   | settled at once          | e - g more, settled now          | the same admission: the same     |
 *   | settled by its caller    | nothing: the caller said it all  | the same admission: nothing      |
 *   | expired, given back      | nothing: a settle still counts   | another admission: e             |
 *   | expired, charged         | e - g more, settled in its window| another admission: e             |
 *   | cancelled                | nothing: the caller said it all  | another admission: e             |
 *   | of another body          | settled at once beside it: e     | settled at once beside it: e     |
 *
 * Where its end came before it, that end holds at once: what is new is charged what was said (cancelled: nothing), what is
 * known is ended as if that were said now.
 *
 * What was told once changes no tokens when it is told again. One that is known by `asked` alone and cancelled was
 * cancelled by somebody else: given anew.
 */
export function failOpen(books: Books, request: FailedOpen): void {
  const known = reportedRequest(books, request);
  if (known === undefined) admitUndecided(books, request, undefined);
  else if (known.body !== request.body) chargeBeside(books, request);
  else if (known.status === 'refused') admitUndecided(books, request, known);
  else if (isGivenAnew(known, request)) admitUndecided(books, request, undefined);
  else complete(books, request, known);
}

function isGivenAnew({ ids, status }: Admission, { admission, asked }: FailedOpen): boolean {
  if (ids.includes(admission)) return false;
  return status === 'cancelled' || (status === 'expired' && (asked === undefined || !ids.includes(asked)));
}

function admitUndecided(books: Books, request: FailedOpen, refused: Admission | undefined): void {
  const admission = debitUndecided(books, request, request.settled ? 'settled' : 'held');
  if (refused === undefined) books.add(admission);
  else books.change(refused, { ...admission, attempts: refused.attempts + 1 });
}

/** The same key, but another request. It has no hold: a key has one at a time. */
function chargeBeside(books: Books, request: FailedOpen): void {
  books.addOther(debitUndecided(books, request, 'settled'));
}

function debitUndecided(books: Books, request: FailedOpen, status: 'held' | 'settled'): Admission {
  const { estimated } = request;
  const { tree } = books;
  const path = (tree.paths.get(request.pipeline) ?? tree.root).names;
  const end = takeEnd(books, request.admission);
  requireRoom(books.present?.window ?? null, path, Math.max(estimated, end?.actual ?? 0));
  const window = books.openWindow();
  const what = { decision: 'ALLOW', granted: estimated, window: window.start } as const;
  const made = newAdmission(books, request, path, { ...what, status: end === undefined ? status : 'held' });
  const given = { ...made, failedOpen: estimated };
  const admission = end === undefined ? given : endedAtOnce(books, given, end);
  grant(books, window, admission);
  charge(books, admission, admission.overrun);
  countFailedOpen(books, estimated);
  return admission;
}

/** Nothing of it is ever held. */
function endedAtOnce(books: Books, given: Admission, { actual }: KeptEnd): Admission {
  books.count(actual === null ? 'admission_cancelled' : 'admission_settled');
  if (actual === null) return ended(books, given, 'cancelled', 0);
  return { ...ended(books, given, 'settled', actual), overrun: Math.max(0, actual - given.granted) };
}

/** What the decision did not grant is debited where the grant was. */
function complete(books: Books, { admission: id }: FailedOpen, known: Admission): void {
  const ids = withAlias(known.ids, id);
  const end = findEnd(books.admissions, id, books.at);
  // Nothing may be changed before it is sure that there is room for both.
  if (end !== undefined)
    requireRoom(books.present?.window ?? null, known.path, known.estimated + (end.actual ?? 0));
  if (known.failedOpen !== null) {
    if (ids !== known.ids) books.change(known, { ...known, ids });
    endAsKept(books, id);
    return;
  }
  const { status, granted, estimated, path } = known;
  const isHeld = status === 'held';
  const more = isHeld || isChargedByGrant(known) ? estimated - granted : 0;
  const window = more > 0 ? windowOfGrant(books, known) : books.openWindow();
  if (more > 0) requireRoom(window, path, more);
  const debit = isHeld ? { held: more, settled: 0 } : { held: 0, settled: more };
  books.post(window, known, { kind: 'fail_open', ...debit, tokens: estimated });
  countFailedOpen(books, more);
  const charged = known.charged === null ? null : known.charged + more;
  books.change(known, { ...known, ids, granted: granted + more, charged, failedOpen: more });
  endAsKept(books, id);
}

/** It has ended, and nobody has said what it took. */
function isChargedByGrant({ status, expiresAt, expiry }: Admission): boolean {
  return status === 'expired' ? expiry === 'charge' : status === 'settled' && expiresAt === null;
}

/** Of one that is not held and whose window is not kept, the open one. An entry of no tokens is about that, too. */
function windowOfGrant(books: Books, known: Admission): BudgetWindow {
  if (known.status === 'held') return books.windowOfHeld(known);
  if (known.status === 'expired') return books.windowOf(known) ?? books.openWindow();
  return books.openWindow();
}

function countFailedOpen(books: Books, tokens: number): void {
  books.count('admission_failed_open');
  if (tokens > 0) books.count('failed_open_tokens', tokens);
}
