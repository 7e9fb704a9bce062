import type { Admission, AdmissionDocument } from '../../shared/state/budget-state.js';

/** Requests that one document remembers; a key is rarely used for more than one. */
const ADMISSIONS_MAX = 32;
/** Ids of one admission: its own and its aliases. */
const IDS_MAX = 16;

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

/** The latest time at which one of them is readable, ms since the epoch; undefined while one is held. */
export function admissionsExpireAt({ admissions }: AdmissionDocument): number | undefined {
  let latest = 0;
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
  return { admissions: [...kept(document.admissions, at).slice(-(ADMISSIONS_MAX - 1)), admission] };
}

/** The document with one more that has ended, before the newest: that may be held. */
export function withOther(
  { admissions }: AdmissionDocument,
  ended: Admission,
  at: number,
): AdmissionDocument {
  const newest = admissions.at(-1)!;
  const older = kept(admissions.slice(0, -1), at);
  return { admissions: [...older.slice(-(ADMISSIONS_MAX - 2)), ended, newest] };
}

/** The document with `after` in the place of `before`. */
export function withChanged(
  { admissions }: AdmissionDocument,
  before: Admission,
  after: Admission,
): AdmissionDocument {
  if (admissions.length === 1) return { admissions: [after] };
  return { admissions: admissions.map((each) => (each === before ? after : each)) };
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
