import type { WindowRows } from '../../../shared/postgres/repositories/windows-repository.js';
import { StoreUnavailable } from '../../../shared/redis/store-unavailable.js';
import type { HotIndex, HotUsage, StartRange } from '../../../shared/usage/hot-usage.js';
import type { UsageWindow } from '../../../shared/usage/usage-window.js';
import { isoTime } from '../../restrictions/user-view.js';
import type { UsageArchive } from './usage-archive.js';

export interface WindowPage {
  /** Ascending by start. */
  readonly windows: readonly UsageWindow[];
  /** The start after which the next page goes on; undefined at the end of the range. */
  readonly after: number | undefined;
  /** It was ended by its bytes, not by its limit: these windows are long. */
  readonly cut: boolean;
}

/** Text of windows that one page reads from each store: a few ms of this process, and of Redis. */
const PAGE_BYTES_MAX = 1_048_576;

/** Starts of windows that a page might show, and what of them is known. */
interface Draft {
  readonly starts: readonly number[];
  readonly index: HotIndex;
  readonly archived: readonly UsageWindow[];
}

/** What this needs of HotUsage. */
export type HotWindows = Pick<HotUsage, 'index' | 'count' | 'windows'>;
/** What this needs of UsageArchive. */
export type ArchivedWindows = Pick<UsageArchive, 'windows' | 'windowsAt' | 'count'>;

const NOTHING: WindowRows = { windows: [], unread: undefined };

/**
 * The one place that merges the windows in Redis with those in Postgres. No method takes a tenant: both sides read
 * in the context of the caller.
 *
 * Nothing that was in either store when a page began is missing from it, although windows move from one to the
 * other meanwhile. A window is in Postgres before it leaves Redis, so:
 *
 *   1. which are hot? ──> 2. which are archived, where Redis may not know all? ──> 3. the hot ones' documents
 *                                                      4. again from Postgres <── those gone between 1 and 3
 *
 * A window that is in both comes from Redis: its document is never older than the archived row.
 *
 * Both sides are asked for one window more than the page holds. The first windows of the union are among the first
 * of each side, so no document is read that belongs to a later page.
 *
 * Windows are of 200 bytes or of 1 MiB. Each read of 2, 3 and 4 ends with the window that reaches the bytes of a page,
 * and the page ends before the first window that was not read; it has one at least.
 */
export class WindowsReader {
  /** @param archive undefined: this process has no DATABASE_URL */
  constructor(
    private readonly hot: HotWindows,
    private readonly archive: ArchivedWindows | undefined,
    private readonly bytesMax = PAGE_BYTES_MAX,
  ) {}

  /** The first `limit` windows of the range, fewer where they are long. @throws StoreUnavailable that says what is missing */
  async page(customer: string, range: StartRange, limit: number): Promise<WindowPage> {
    const index = await this.hot.index(customer, range, limit + 1);
    const read = (archive: ArchivedWindows, part: StartRange) =>
      archive.windows(customer, part, limit + 1, this.bytesMax);
    const { windows: archived, unread } = (await this.fromArchive(range, index, read)) ?? NOTHING;
    const starts = mergeStarts(
      index.starts,
      archived.map(({ start }) => start),
    );
    const known = upTo(starts, unread);
    const drafted = known.slice(0, limit);
    const { windows, unread: left } = await this.load(customer, { starts: drafted, index, archived });
    const shown = upTo(drafted, left);
    const rest = unread !== undefined || left !== undefined;
    const after = rest || known.length > limit ? shown.at(-1) : undefined;
    return { windows, after, cut: rest && shown.length < limit };
  }

  /** A number of windows that the range holds for sure; counting stops at `most`. @throws StoreUnavailable */
  async countAtLeast(customer: string, range: StartRange, most: number): Promise<number> {
    const index = await this.hot.index(customer, range, 0);
    const hot = await this.hot.count(customer, range);
    const count = (archive: ArchivedWindows, part: StartRange) => archive.count(customer, part, most);
    const archived = await this.fromArchive(range, index, count);
    // Some may be in both.
    return Math.max(hot, archived ?? 0);
  }

  /** @returns the windows before `unread`, which is where the bytes were used up; undefined: all of them */
  private async load(customer: string, { starts, index, archived }: Draft): Promise<WindowRows> {
    const byStart = new Map(archived.map((window) => [window.start, window]));
    const known = new Set(index.starts);
    const hot = starts.filter((start) => known.has(start));
    const gone: number[] = [];
    const documents = hot.length === 0 ? [] : await this.hot.windows(customer, hot, this.bytesMax);
    documents.forEach((window, i) => {
      if (window === undefined) gone.push(hot[i]!);
      else byStart.set(window.start, window);
    });
    const again = gone.length === 0 ? NOTHING : await this.archivedSince(customer, gone, index);
    for (const window of again.windows) byStart.set(window.start, window);
    const unread = again.unread ?? hot[documents.length];
    return { windows: upTo(starts, unread).flatMap((start) => byStart.get(start) ?? []), unread };
  }

  /** Windows that left Redis while they were read. */
  private async archivedSince(
    customer: string,
    gone: readonly number[],
    index: HotIndex,
  ): Promise<WindowRows> {
    const left = {
      ...index,
      completeFrom: Number.POSITIVE_INFINITY,
      evictedUntil: Number.POSITIVE_INFINITY,
    };
    const range = { from: gone[0]!, to: gone.at(-1)! + 1 };
    const read = (archive: ArchivedWindows) => archive.windowsAt(customer, gone, this.bytesMax);
    return (await this.fromArchive(range, left, read)) ?? NOTHING;
  }

  /**
   * Asks the archive for the part of the range of which Redis may not know every window. Where there is none,
   * Postgres is not asked, and may be down: undefined.
   */
  private async fromArchive<T>(
    range: StartRange,
    { completeFrom, evictedUntil }: HotIndex,
    ask: (archive: ArchivedWindows, part: StartRange) => Promise<T>,
  ): Promise<T | undefined> {
    const part = { from: range.from, to: Math.min(range.to, completeFrom) };
    if (part.from >= part.to) return undefined;
    if (this.archive === undefined) {
      // Without an archive nothing leaves Redis; but other processes may have one.
      if (part.from >= evictedUntil) return undefined;
      throw new StoreUnavailable(`This process has no DATABASE_URL: ${missing(part)}`);
    }
    try {
      return await ask(this.archive, part);
    } catch (error) {
      if (!(error instanceof StoreUnavailable)) throw error;
      throw new StoreUnavailable(`${error.detail} It may hold more: ${missing(part)}`, error);
    }
  }
}

function missing({ from, to }: StartRange): string {
  return `windows from ${isoTime(from)} to ${isoTime(to)} cannot be read completely.`;
}

/** Those before the first that was not read. */
function upTo(starts: readonly number[], unread: number | undefined): readonly number[] {
  return unread === undefined ? starts : starts.filter((start) => start < unread);
}

/** Two ascending lists as one, each start once. */
export function mergeStarts(a: readonly number[], b: readonly number[]): number[] {
  const merged: number[] = [];
  for (let i = 0, j = 0; i < a.length || j < b.length; ) {
    const next = Math.min(a[i] ?? Number.POSITIVE_INFINITY, b[j] ?? Number.POSITIVE_INFINITY);
    merged.push(next);
    if (a[i] === next) i++;
    if (b[j] === next) j++;
  }
  return merged;
}
