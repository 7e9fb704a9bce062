/** The truth about a partition's progress: the hash `head`, written by every commit. */
export interface Head {
  /** Last stream entry folded completely. */
  readonly position: string;
  /** Where the last step ended inside an entry: which one, and how many of its messages are folded. */
  readonly inside: Inside | undefined;
  /** Number of commits. */
  readonly seq: number;
  /** Time of the last input folded, in ms: never goes back. */
  readonly at: number;
  /** A commit script failed half-way: the partition must not go on. */
  readonly dirty: boolean;
  /** Owners since the last commit or clean release, the present one included. */
  readonly takeovers: number;
  /** Entry up to which every message is tried alone first; empty when all is well. */
  readonly cautiousUntil: string;
  /** Bookkeeping of the id index (see id-store.ts); empty for a new partition. */
  readonly ids: string;
  /** Key of the id hash, 16 hex digits. */
  readonly seed: string;
}

/** Names its entry, so that it can never be applied to another one (should Redis have lost the entry meanwhile). */
export interface Inside {
  readonly entry: string;
  readonly messages: number;
}

export function writeInside(inside: Inside | undefined): string {
  return inside === undefined ? '' : `${inside.entry}:${inside.messages}`;
}

function readInside(text: string): Inside | undefined {
  const [entry = '', messages = ''] = text.split(':');
  return messages === '' ? undefined : { entry, messages: Number(messages) };
}

export const FIRST_POSITION = '0-0';

/** Fields of the hash that make a `Head`. It has others, and one of them may be large (`rest`). */
export const HEAD_FIELDS: readonly string[] =
  'position inside seq at dirty takeovers cautious ids seed'.split(' ');

/** @param values of HEAD_FIELDS, in their order */
export function readHead(values: readonly (string | null)[]): Head {
  const [position, inside, seq, at, dirty, takeovers, cautious, ids, seed] = values;
  return {
    position: position ?? FIRST_POSITION,
    inside: readInside(inside ?? ''),
    seq: Number(seq ?? 0),
    at: Number(at ?? 0),
    dirty: dirty === '1',
    takeovers: Number(takeovers ?? 0),
    cautiousUntil: cautious ?? '',
    ids: ids ?? '',
    seed: seed ?? '',
  };
}

/** Compares stream ids `<ms>-<n>`: negative, 0 or positive. */
export function compareEntryIds(a: string, b: string): number {
  const [aMs, aN] = splitEntryId(a);
  const [bMs, bN] = splitEntryId(b);
  return aMs - bMs || aN - bN;
}

function splitEntryId(id: string): [ms: number, n: number] {
  const dash = id.indexOf('-');
  return [Number(id.slice(0, dash)), Number(id.slice(dash + 1))];
}
