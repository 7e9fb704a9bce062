import type { FailedOpen } from '../../shared/messages/admissions.js';
import type { Admission } from '../../shared/state/budget-state.js';
import { findAdmission, isForgotten } from './admission-document.js';
import type { Books } from './books.js';

/**
 * The admission that a request is a retry of: the one that has its very id, for as long as it is known; or the newest
 * with its key, for some time, or while it is held.
 */
export function sameRequest(books: Books, id: string): Admission | undefined {
  const { admissions, at } = books;
  if (admissions === null) return undefined;
  return findAdmission(admissions, id, at) ?? newestAlike(books, at);
}

/**
 * The admission that a request which was answered undecided has become: the one with the id of the answer, or with the id
 * it was sent with; else the newest with its key, as above, or one with its body that was charged beside it. What counts is
 * when it was asked: its report may have waited.
 */
export function reportedRequest(books: Books, request: FailedOpen): Admission | undefined {
  const { admission, asked, body, waitedMs = 0 } = request;
  const { admissions, at } = books;
  if (admissions === null) return undefined;
  const known = admissions.admissions.filter((each) => !isForgotten(each, at) && each.status !== 'refused');
  const own = known.filter(({ ids }) => ids.includes(admission));
  const sent = known.findLast(({ ids }) => asked !== undefined && ids.includes(asked));
  const askedAt = at - waitedMs;
  const newest = newestAlike(books, askedAt);
  const alike = known.filter((each) => each.body === body);
  const beside = alike.findLast(({ status, dedupeUntil }) => status === 'settled' && askedAt < dedupeUntil);
  return (
    own.findLast((each) => alike.includes(each)) ??
    own.at(-1) ??
    // By somebody else, who asked for the same.
    (sent?.status === 'cancelled' ? undefined : sent) ??
    (newest?.body === body ? newest : (beside ?? newest))
  );
}

function newestAlike(books: Books, askedAt: number): Admission | undefined {
  const newest = books.admissions?.admissions.at(-1);
  if (newest === undefined || isForgotten(newest, books.at)) return undefined;
  return newest.status === 'held' || askedAt < newest.dedupeUntil ? newest : undefined;
}
