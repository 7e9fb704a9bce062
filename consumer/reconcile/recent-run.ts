import type { Difference, Reconciliation } from '../../shared/reconciliation/reconciliation.js';
import { type ArchiveState, readArchiveState, withSnapshot } from './archive-snapshot.js';
import { type CompareOptions, WindowComparison } from './compare-windows.js';
import { findRows, findTouched, type TouchedWindow } from './find-windows.js';
import { recentSpans, type SpanGroup, type Verified } from './recent-spans.js';
import type { RecentState } from './recent-state.js';
import { Tally } from './tally.js';
import { keyText, type WindowKey } from './window-key.js';

/** Windows per comparison. */
const CHUNK = 200;
const LIMITS = { rowsMax: 2_000_000, windowsMax: 20_000 } as const;
const FIRST_LOOK_MS = 600_000;
const SPAN_MS_MAX = 600_000;
/** More than a window can take from its last event to its emission, for reasons that are none of ours to know. */
const OVERLAP_SLACK_MS = 30_000;
const BOTH = { hot: true, closed: true } as const;

export interface RecentOptions extends Omit<CompareOptions, 'statementMsMax' | 'patienceMs'> {
  /** After this many ms it goes no further; the next run goes on there. */
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

  constructor(
    { runMsMax, onDifference, ...options }: RecentOptions,
    private readonly before: RecentState,
  ) {
    this.deadline = performance.now() + runMsMax;
    this.options = { ...options, statementMsMax: runMsMax, patienceMs: runMsMax / 4 };
    this.comparison = new WindowComparison(this.options);
    this.tally = new Tally(onDifference);
  }

  async run(): Promise<{ readonly result: Reconciliation; readonly state: RecentState }> {
    const { times, signal } = this.options;
    const archive = await withSnapshot(this.options, readArchiveState);
    await this.compareUntilDeadline(this.before.suspects.map((key) => ({ key, lastMs: 0 })));
    const groups = recentSpans(archive.positions, this.before.verified, {
      overlapMs: times.windowMs + times.latenessMs + times.revisionDelayMs + OVERLAP_SLACK_MS,
      firstLookMs: FIRST_LOOK_MS,
      spanMsMax: SPAN_MS_MAX,
    });
    const verified = this.verifiedBefore(archive);
    for (const group of groups) {
      signal.throwIfAborted();
      if (performance.now() > this.deadline) break;
      const pendingBefore = this.tally.pending;
      const reachedMs = await this.lookThrough(group);
      const calm = reachedMs >= group.toMs && this.tally.pending === pendingBefore;
      for (const { partition, toMs, position } of group.partitions) {
        verified.set(partition, { ms: Math.min(toMs, reachedMs), ...position, calm });
      }
    }
    const unseen = this.before.suspects.filter((key) => !this.done.has(keyText(key)));
    const result = this.tally.result(unseen.length);
    return { result, state: { verified, suspects: [...this.tally.drifted, ...unseen] } };
  }

  /** Partitions that the archive has no position of any more are forgotten. */
  private verifiedBefore({ positions }: ArchiveState): Map<number, Verified> {
    return new Map([...this.before.verified].filter(([partition]) => positions.has(partition)));
  }

  /** @returns up to which ms everything was looked at */
  private async lookThrough(group: SpanGroup): Promise<number> {
    const { times } = this.options;
    const { touched, closing } = await withSnapshot(this.options, async (snapshot) => ({
      touched: await findTouched(snapshot, group, LIMITS),
      // Also those that nobody has touched since: of events that came long before their window.
      closing: await Promise.all(
        group.partitions.map(({ partition, fromMs, toMs }) =>
          findRows(snapshot, {
            partition,
            after: { start: new Date(fromMs - times.windowMs - times.latenessMs), id: 0 },
            toMs,
            limit: LIMITS.windowsMax,
          }),
        ),
      ),
    }));
    const known = new Set(touched.windows.map(({ key }) => keyText(key)));
    const others = closing
      .flatMap(({ windows }) => windows)
      .filter((key) => !known.has(keyText(key)))
      .map((key): TouchedWindow => ({ key, lastMs: group.fromMs }));
    const seenTo = await this.compareUntilDeadline([...others, ...touched.windows]);
    return Math.min(seenTo, touched.reachedMs);
  }

  /**
   * @param windows in the order of `lastMs`
   * @returns up to which `lastMs` all of them were compared; Infinity: all were
   */
  private async compareUntilDeadline(windows: readonly TouchedWindow[]): Promise<number> {
    for (let i = 0; i < windows.length; i += CHUNK) {
      if (performance.now() > this.deadline) return windows[i]!.lastMs - 1;
      const chunk = windows.slice(i, i + CHUNK).map(({ key }): WindowKey => key);
      const compared = await this.comparison.compare(
        chunk.filter((key) => !this.done.has(keyText(key))),
        BOTH,
      );
      this.tally.add(compared);
      for (const { key, pending } of compared) if (!pending) this.done.add(keyText(key));
    }
    return Infinity;
  }
}
