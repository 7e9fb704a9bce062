import type { FailedOpen } from '../../shared/messages/admissions.js';
import type { Admission } from '../../shared/state/budget-state.js';
import { sameRequest, withAlias } from './admission-document.js';
import { grant, newAdmission } from './admit.js';
import type { Books } from './books.js';
import { requireRoom } from './window.js';

/**
 * A request was answered ALLOW although nobody had decided: what it may spend is debited now, whatever the budget
 * says. Where its decision is known after all, only what that did not grant.
 */
export function failOpen(books: Books, request: FailedOpen): void {
  const known = sameRequest(books.admissions, request.admission, books.at);
  if (known === undefined || known.status === 'refused') admitUndecided(books, request, known);
  else reconcile(books, request, known);
}

function admitUndecided(books: Books, request: FailedOpen, refused: Admission | undefined): void {
  const { estimated, settled } = request;
  const { tree } = books;
  const path = (tree.paths.get(request.pipeline) ?? tree.root).names;
  requireRoom(books.present?.window ?? null, path, estimated);
  const window = books.openWindow();
  const admission = {
    ...newAdmission(books, request, path, {
      status: settled ? 'settled' : 'held',
      decision: 'ALLOW',
      granted: estimated,
      window: window.start,
    }),
    failedOpen: estimated,
  };
  grant(books, window, admission);
  countFailedOpen(books, estimated);
  if (refused === undefined) books.add(admission);
  else books.change(refused, { ...admission, attempts: refused.attempts + 1 });
}

function reconcile(books: Books, { admission: id }: FailedOpen, known: Admission): void {
  const { status, decision, granted, estimated, path } = known;
  const ids = withAlias(known.ids, id);
  if (known.failedOpen !== null) {
    if (ids !== known.ids) books.change(known, { ...known, ids });
    return;
  }
  const more = status === 'held' && decision === 'ALLOW_DEGRADED' ? estimated - granted : 0;
  // An entry that changes nothing is about the window in which it was told.
  const window = more > 0 ? books.windowOfHeld(known) : books.openWindow();
  if (more > 0) requireRoom(window, path, more);
  books.post(window, known, { kind: 'fail_open', held: more, settled: 0, tokens: estimated });
  countFailedOpen(books, more);
  books.change(known, { ...known, ids, granted: granted + more, failedOpen: more });
}

function countFailedOpen(books: Books, tokens: number): void {
  books.count('admission_failed_open');
  if (tokens > 0) books.count('failed_open_tokens', tokens);
}
