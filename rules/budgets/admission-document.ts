import type { Admission, AdmissionDocument, KeptEnd } from '../../shared/state/budget-state.js';

/** Requests that one document remembers; a key is rarely used for more than one. */
const ADMISSIONS_MAX = 32;
/** Ids of one admission: its own and its aliases. */
const IDS_MAX = 16;
/** Ends that one document keeps: one for each API process that has admitted the same request undecided. */
const ENDS_MAX = 16;

/** @param at ms since the epoch. @returns the admission that was given this id, unless it is forgotten by then */
export function findAdmission(
  document: AdmissionDocument | null,
  id: string,
  at: number,
): Admission | undefined {
  return document?.admissions.findLast(
    (admission) => !isForgotten(admission, at) && admission.ids.includes(id),
  );
}

/** @param at ms since the epoch. @returns the end of an admission that is not known yet, unless it is forgotten by then */
export function findEnd(document: AdmissionDocument | null, id: string, at: number): KeptEnd | undefined {
  return document?.ends?.find((end) => end.id === id && at < end.until);
}

/** The latest time at which something of it is known, ms since the epoch; undefined while one is held. */
export function admissionsExpireAt({ admissions, ends = [] }: AdmissionDocument): number | undefined {
  let latest = 0;
  for (const { until } of ends) latest = Math.max(latest, until);
  for (const { keepUntil } of admissions) {
    if (keepUntil === null) return undefined;
    if (keepUntil > latest) latest = keepUntil;
  }
  return latest;
}

/** The document with one more; without what is forgotten by then, or no longer fits. */
export function withAdmission(
  document: AdmissionDocument | null,
  admission: Admission,
  at: number,
): AdmissionDocument {
  if (document === null) return { admissions: [admission] };
  // Only the newest can be held: another one is not appended while it is.
  const older = kept(document.admissions, at).slice(-(ADMISSIONS_MAX - 1));
  return documentOf([...older, admission], liveEnds(document, at));
}

/** The document with one more that has ended, before the newest: that may be held. */
export function withOther(document: AdmissionDocument, ended: Admission, at: number): AdmissionDocument {
  const newest = document.admissions.at(-1)!;
  const older = kept(document.admissions.slice(0, -1), at);
  return documentOf([...older.slice(-(ADMISSIONS_MAX - 2)), ended, newest], liveEnds(document, at));
}

/** The document with `after` in the place of `before`. */
export function withChanged(
  { admissions, ends }: AdmissionDocument,
  before: Admission,
  after: Admission,
): AdmissionDocument {
  if (admissions.length === 1) return documentOf([after], ends);
  return documentOf(
    admissions.map((each) => (each === before ? after : each)),
    ends,
  );
}

/**
 * The document with the end of an admission that is not known yet. Of too many the oldest goes: the process that owes its
 * report is the least likely to live.
 */
export function withEnd(document: AdmissionDocument | null, end: KeptEnd, at: number): AdmissionDocument {
  const ends = liveEnds(document, at) ?? [];
  const admissions = document?.admissions.filter((each) => !isForgotten(each, at)) ?? [];
  return documentOf(admissions, [...ends.slice(-(ENDS_MAX - 1)), end]);
}

export function withoutEnd({ admissions, ends = [] }: AdmissionDocument, end: KeptEnd): AdmissionDocument {
  return documentOf(
    admissions,
    ends.filter((each) => each !== end),
  );
}

function documentOf(
  admissions: readonly Admission[],
  ends: readonly KeptEnd[] | undefined,
): AdmissionDocument {
  return ends === undefined || ends.length === 0 ? { admissions } : { admissions, ends };
}

function liveEnds(document: AdmissionDocument | null, at: number): readonly KeptEnd[] | undefined {
  return document?.ends?.filter(({ until }) => at < until);
}

/** The ids with an alias more; of too many the oldest alias goes, never the id that the admission was given first. */
export function withAlias(ids: readonly string[], id: string): readonly string[] {
  if (ids.includes(id)) return ids;
  const [own, ...aliases] = ids;
  return own === undefined ? [id] : [own, ...aliases.slice(-(IDS_MAX - 2)), id];
}

/** A refusal is of no use any more once another admission came after it. */
function kept(admissions: readonly Admission[], at: number): Admission[] {
  return admissions.filter((each) => !isForgotten(each, at) && each.status !== 'refused');
}

export function isForgotten({ keepUntil }: Admission, at: number): boolean {
  return keepUntil !== null && at >= keepUntil;
}
