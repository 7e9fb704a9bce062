/** The truth about a partition's progress: the hash `head`, written by every commit. */
export interface Head {
  /** Last stream entry folded completely. */
  readonly position: string;
  /** Messages of the entry after `position` that are folded already; 0 but for a step cut inside an entry. */
  readonly offset: number;
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

export const FIRST_POSITION = '0-0';

export function readHead(fields: readonly string[]): Head {
  const map = new Map<string, string>();
  for (let i = 0; i < fields.length; i += 2) map.set(fields[i]!, fields[i + 1]!);
  return {
    position: map.get('position') ?? FIRST_POSITION,
    offset: Number(map.get('offset') ?? 0),
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

/** The smallest id above `id`. */
export function entryIdAfter(id: string): string {
  const [ms, n] = splitEntryId(id);
  return `${ms}-${n + 1}`;
}

function splitEntryId(id: string): [ms: number, n: number] {
  const dash = id.indexOf('-');
  return [Number(id.slice(0, dash)), Number(id.slice(dash + 1))];
}
