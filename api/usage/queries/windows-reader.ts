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
}

/** What this needs of HotUsage. */
export type HotWindows = Pick<HotUsage, 'index' | 'count' | 'windows'>;
/** What this needs of UsageArchive. */
export type ArchivedWindows = Pick<UsageArchive, 'windows' | 'windowsAt' | 'count'>;

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
 */
export class WindowsReader {
  /** @param archive undefined: this process has no DATABASE_URL */
  constructor(
    private readonly hot: HotWindows,
    private readonly archive: ArchivedWindows | undefined,
  ) {}

  /** The first `limit` windows of the range. @throws StoreUnavailable that says what cannot be had */
  async page(customer: string, range: StartRange, limit: number): Promise<WindowPage> {
    const index = await this.hot.index(customer, range, limit + 1);
    const read = (archive: ArchivedWindows, part: StartRange) => archive.windows(customer, part, limit + 1);
    const archived = (await this.fromArchive(range, index, read)) ?? [];
    const starts = mergeStarts(
      index.starts,
      archived.map(({ start }) => start),
    );
    const shown = starts.slice(0, limit);
    return {
      windows: await this.load(customer, shown, index, archived),
      after: starts.length > limit ? shown.at(-1) : undefined,
    };
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

  private async load(
    customer: string,
    starts: readonly number[],
    index: HotIndex,
    archived: readonly UsageWindow[],
  ): Promise<UsageWindow[]> {
    const byStart = new Map(archived.map((window) => [window.start, window]));
    const known = new Set(index.starts);
    const hot = starts.filter((start) => known.has(start));
    const gone: number[] = [];
    const windows = await this.hot.windows(customer, hot);
    windows.forEach((window, i) => {
      if (window === undefined) gone.push(hot[i]!);
      else byStart.set(window.start, window);
    });
    if (gone.length > 0) {
      const left = {
        ...index,
        completeFrom: Number.POSITIVE_INFINITY,
        evictedUntil: Number.POSITIVE_INFINITY,
      };
      const range = { from: gone[0]!, to: gone.at(-1)! + 1 };
      const found = await this.fromArchive(range, left, (archive) => archive.windowsAt(customer, gone));
      for (const window of found ?? []) byStart.set(window.start, window);
    }
    return starts.flatMap((start) => byStart.get(start) ?? []);
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
