import type { Difference, Reconciliation } from '../../shared/reconciliation/reconciliation.js';
import { type ArchiveState, readArchiveState, withSnapshot } from './archive-snapshot.js';
import { type CompareOptions, WindowComparison } from './compare-windows.js';
import { findRows, findTouched, type TouchedWindow } from './find-windows.js';
import { recentSpans, type SpanGroup, type Verified } from './recent-spans.js';
import type { RecentState } from './recent-state.js';
import { Tally } from './tally.js';
import { keyText, type WindowKey } from './window-key.js';

/** Windows per comparison, and events of them, as far as they are in the span. */
const CHUNK_WINDOWS = 200;
const CHUNK_EVENTS = 300_000;
const STATEMENT_MS_MAX = 30_000;
const LIMITS = { rowsMax: 2_000_000, windowsMax: 20_000 } as const;
const FIRST_LOOK_MS = 600_000;
const SPAN_MS_MAX = 600_000;
/** More than a window can take from its last event to its emission, for reasons that are none of ours to know. */
const OVERLAP_SLACK_MS = 30_000;
const BOTH = { hot: true, closed: true } as const;

export interface RecentOptions extends Omit<CompareOptions, 'statementMsMax' | 'patienceMs'> {
  /** After this many ms it begins nothing more; the next run goes on there. */
  readonly runMsMax: number;
  readonly onDifference: (difference: Difference) => void;
}

/**
 * Compares the windows that have changed since the last run, and those that disagreed then. What it does is bounded in
 * rows, windows and time; what it leaves out, the next run begins with.
 */
export async function reconcileRecent(
  options: RecentOptions,
  before: RecentState,
): Promise<{ readonly result: Reconciliation; readonly state: RecentState }> {
  const run = new RecentRun(options, before);
  return run.run();
}

class RecentRun {
  private readonly deadline: number;
  private readonly options: CompareOptions;
  private readonly comparison: WindowComparison;
  private readonly tally: Tally;
  /** Keys of windows that were compared to the end in this run. */
  private readonly done = new Set<string>();
  private leftOut = 0;

  constructor(
    { runMsMax, onDifference, ...options }: RecentOptions,
    private readonly before: RecentState,
  ) {
    this.deadline = performance.now() + runMsMax;
    this.options = { ...options, statementMsMax: STATEMENT_MS_MAX, patienceMs: runMsMax / 4 };
    this.comparison = new WindowComparison(this.options);
    this.tally = new Tally(onDifference);
  }

  async run(): Promise<{ readonly result: Reconciliation; readonly state: RecentState }> {
    const { times, signal } = this.options;
    const archive = await withSnapshot(this.options, readArchiveState);
    await this.compareUntilDeadline(this.before.suspects.map((key) => ({ key, events: 1 })));
    const groups = recentSpans(archive.positions, this.before.verified, {
      overlapMs: times.windowMs + times.latenessMs + times.revisionDelayMs + OVERLAP_SLACK_MS,
      firstLookMs: FIRST_LOOK_MS,
      spanMsMax: SPAN_MS_MAX,
    });
    const verified = this.verifiedBefore(archive);
    for (const [i, group] of groups.entries()) {
      signal.throwIfAborted();
      // One at least, or there would be no end.
      if (i > 0 && performance.now() > this.deadline) break;
      const [pending, leftOut] = [this.tally.pending, this.leftOut];
      const reachedMs = await this.lookThrough(group);
      const isCalm = pending === this.tally.pending && leftOut === this.leftOut;
      for (const { partition, toMs, position, knownMs } of group.partitions) {
        const ms = Math.min(toMs, Math.max(reachedMs, knownMs));
        verified.set(partition, { ...position, ms, calm: isCalm && ms === toMs });
      }
    }
    const unseen = this.before.suspects.filter((key) => !this.done.has(keyText(key)));
    const result = this.tally.result(this.leftOut, unseen.length);
    return { result, state: { verified, suspects: [...this.tally.drifted, ...unseen] } };
  }

  /** Partitions that the archive has no position of any more are forgotten. */
  private verifiedBefore({ positions }: ArchiveState): Map<number, Verified> {
    return new Map([...this.before.verified].filter(([partition]) => positions.has(partition)));
  }

  /**
   * What is new comes first, so that a run gets on however much there is to look at again.
   * @returns up to which ms all that is new was looked at
   */
  private async lookThrough(group: SpanGroup): Promise<number> {
    const { times } = this.options;
    const { touched, closing } = await withSnapshot(this.options, async (snapshot) => {
      const found: WindowKey[] = [];
      // Also those that nobody has touched since: of events that came long before their window.
      for (const { partition, fromMs, toMs } of group.partitions) {
        const after = { start: new Date(fromMs - times.windowMs - times.latenessMs), id: 0 };
        const rows = await findRows(snapshot, { partition, after, toMs, limit: LIMITS.windowsMax });
        found.push(...rows.windows);
      }
      return { touched: await findTouched(snapshot, group, LIMITS), closing: found };
    });
    const known = new Map(group.partitions.map(({ partition, knownMs }) => [partition, knownMs]));
    // Windows of partitions in which nothing has happened lie in the same span of time.
    const windows = touched.windows.filter(({ key }) => known.has(key.partition));
    const isNew = ({ key, lastMs }: TouchedWindow): boolean => lastMs > known.get(key.partition)!;
    const fresh = windows.filter(isNew);
    const again = windows.filter((window) => !isNew(window));
    const keys = new Set(windows.map(({ key }) => keyText(key)));
    const others = closing.filter((key) => !keys.has(keyText(key))).map((key) => ({ key, events: 1 }));
    const compared = await this.compareUntilDeadline([...fresh, ...again, ...others]);
    const next = fresh[compared];
    return next === undefined ? touched.reachedMs : Math.min(touched.reachedMs, next.lastMs - 1);
  }

  /** @returns how many of them, the first ones, were looked at */
  private async compareUntilDeadline(
    windows: readonly Pick<TouchedWindow, 'key' | 'events'>[],
  ): Promise<number> {
    let begin = 0;
    while (begin < windows.length && (begin === 0 || performance.now() < this.deadline)) {
      const keys: WindowKey[] = [];
      let events = 0;
      while (begin < windows.length && keys.length < CHUNK_WINDOWS && events < CHUNK_EVENTS) {
        const window = windows[begin]!;
        events += window.events;
        begin += 1;
        if (!this.done.has(keyText(window.key))) keys.push(window.key);
      }
      const compared = await this.comparison.compare(keys, BOTH);
      this.tally.add(compared);
      for (const { key, pending } of compared) if (!pending) this.done.add(keyText(key));
    }
    this.leftOut += windows.length - begin;
    return begin;
  }
}
