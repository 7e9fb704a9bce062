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

export function readHead(fields: readonly string[]): Head {
  const map = new Map<string, string>();
  for (let i = 0; i < fields.length; i += 2) map.set(fields[i]!, fields[i + 1]!);
  return {
    position: map.get('position') ?? FIRST_POSITION,
    inside: readInside(map.get('inside') ?? ''),
    seq: Number(map.get('seq') ?? 0),
    at: Number(map.get('at') ?? 0),
    dirty: map.get('dirty') === '1',
    takeovers: Number(map.get('takeovers') ?? 0),
    cautiousUntil: map.get('cautious') ?? '',
    ids: map.get('ids') ?? '',
    seed: map.get('seed') ?? '',
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
