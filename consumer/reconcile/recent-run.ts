import type { Difference, Reconciliation } from '../../shared/reconciliation/reconciliation.js';
import { type ArchiveState, msOf, readArchiveState, withSnapshot } from './archive-snapshot.js';
import { type CompareOptions, WindowComparison } from './compare-windows.js';
import {
  findRows,
  findTouched,
  type RowCursor,
  type SpanGroup,
  type TouchedLimits,
  type TouchedWindow,
} from './find-windows.js';
import {
  groupSpans,
  type PartitionPlan,
  passBefore,
  provenMs,
  recentPlans,
  type SpanLimits,
  type Verified,
} from './recent-spans.js';
import type { RecentState } from './recent-state.js';
import { Tally } from './tally.js';
import { keyText, type WindowKey } from './window-key.js';

/** Windows per comparison, and events of them, as far as they are in the span. */
const CHUNK_WINDOWS = 200;
const CHUNK_EVENTS = 300_000;
const STATEMENT_MS_MAX = 30_000;
/** Of one look into the events; there are as many as there is time for. */
const LIMITS: TouchedLimits = { rowsMax: 2_000_000, windowsMax: 20_000 };
const FIRST_LOOK_MS = 600_000;
const SPAN_MS_MAX = 600_000;
/** More than a window can take from its last event to its emission, for reasons that are none of ours to know. */
const OVERLAP_SLACK_MS = 30_000;
const BOTH = { hot: true, closed: true } as const;
/** Each part of a run ends at this share of its time at the latest, so that none keeps the others from getting on. */
const SHARES = { suspects: 0.2, fresh: 0.6, again: 0.8, rows: 1 } as const;

export interface RecentOptions extends Omit<CompareOptions, 'statementMsMax' | 'patienceMs'> {
  /** After this many ms it begins nothing more; the next run goes on there. */
  readonly runMsMax: number;
  readonly onDifference: (difference: Difference) => void;
  /** Absent: 2,000,000 events and 20,000 windows. */
  readonly limits?: TouchedLimits;
}

/**
 * Compares the windows that have changed since the last run, and those that disagreed then. What it does is bounded in
 * rows, windows and time; what it leaves out, the next run begins with. Each run gets on, however much there is:
 *
 * | part     | begins with                      | gets on by, at least                       |
 * | -------- | -------------------------------- | ------------------------------------------ |
 * | suspects | windows that disagreed last time | one comparison                             |
 * | fresh    | events that nobody looked at     | one ms of the partition furthest behind    |
 * | again    | events whose windows were open   | the same                                   |
 * | rows     | closed windows, by their begin   | one comparison of that partition           |
 */
export async function reconcileRecent(
  options: RecentOptions,
  before: RecentState,
): Promise<{ readonly result: Reconciliation; readonly state: RecentState }> {
  const run = new RecentRun(options, before);
  return run.run();
}

/** How far a run has come in one partition. */
interface Walk {
  readonly plan: PartitionPlan;
  freshMs: number;
  againMs: number;
  row: RowCursor;
  rowsDone: boolean;
}

class RecentRun {
  private readonly begunAt = performance.now();
  private readonly runMsMax: number;
  private readonly limits: TouchedLimits;
  private readonly spans: SpanLimits;
  private readonly options: CompareOptions;
  private readonly comparison: WindowComparison;
  private readonly tally: Tally;
  /** Keys of windows that were compared to the end in this run. */
  private readonly done = new Set<string>();
  /** Partitions in which something could not be compared. */
  private readonly unproven = new Set<number>();
  private leftOut = 0;

  constructor(
    { runMsMax, onDifference, limits = LIMITS, ...options }: RecentOptions,
    private readonly before: RecentState,
  ) {
    const { windowMs, latenessMs, revisionDelayMs } = options.times;
    this.runMsMax = runMsMax;
    this.limits = limits;
    this.spans = {
      overlapMs: windowMs + latenessMs + revisionDelayMs + OVERLAP_SLACK_MS,
      closingMs: windowMs + latenessMs,
      firstLookMs: FIRST_LOOK_MS,
      spanMsMax: SPAN_MS_MAX,
    };
    this.options = { ...options, statementMsMax: STATEMENT_MS_MAX, patienceMs: runMsMax / 4 };
    this.comparison = new WindowComparison(this.options);
    this.tally = new Tally(onDifference);
  }

  async run(): Promise<{ readonly result: Reconciliation; readonly state: RecentState }> {
    const archive = await withSnapshot(this.options, readArchiveState);
    const { suspects } = this.before;
    const looked = await this.compareUntil(
      suspects.map((key) => ({ key, events: 1 })),
      SHARES.suspects,
    );
    this.leftOut += suspects.length - looked;
    const walks = new Map(
      recentPlans(archive.positions, this.before.verified, this.spans).map((plan) => [
        plan.partition,
        walkOf(plan),
      ]),
    );
    await this.lookAtFresh(walks);
    await this.lookAgain(walks);
    await this.lookAtRows(walks);
    const verified = this.verifiedBefore(archive);
    for (const [partition, walk] of walks) verified.set(partition, this.verifiedBy(walk));
    const unseen = suspects.filter((key) => !this.done.has(keyText(key)));
    const lagSeconds = this.lagMs(archive, verified) / 1000;
    const result = this.tally.result({ leftOut: this.leftOut, alsoDrifted: unseen.length, lagSeconds });
    return { result, state: { verified, suspects: [...this.tally.drifted, ...unseen] } };
  }

  private async lookAtFresh(walks: ReadonlyMap<number, Walk>): Promise<void> {
    const groups = groupSpans(
      [...walks.values()].map(({ plan: { partition, knownMs, toMs } }) => ({
        ...{ partition, fromMs: knownMs, toMs },
      })),
    );
    await this.lookThrough(groups, SHARES.fresh, (partition, ms) => {
      walks.get(partition)!.freshMs = ms;
    });
  }

  private async lookAgain(walks: ReadonlyMap<number, Walk>): Promise<void> {
    const groups = groupSpans(
      [...walks.values()].map(({ plan: { partition, again, againToMs } }) => ({
        ...{ partition, fromMs: again.ms, toMs: againToMs },
      })),
    );
    await this.lookThrough(groups, SHARES.again, (partition, ms) => {
      walks.get(partition)!.againMs = ms;
    });
  }

  /** Also those that nobody has touched since: of events that came long before their window. */
  private async lookAtRows(walks: ReadonlyMap<number, Walk>): Promise<void> {
    let isFirst = true;
    for (const walk of [...walks.values()].sort((a, b) => a.row.start - b.row.start)) {
      const { partition, again } = walk.plan;
      const toMs = again.begun?.ms ?? walk.freshMs;
      while (!walk.rowsDone && (isFirst || this.hasTime(SHARES.rows))) {
        isFirst = false;
        const { windows, last } = await withSnapshot(this.options, (snapshot) =>
          findRows(snapshot, { partition, after: walk.row, toMs, limit: CHUNK_WINDOWS }),
        );
        await this.compareUntil(
          windows.map((key) => ({ key, events: 1 })),
          SHARES.rows,
        );
        walk.row = last ?? walk.row;
        walk.rowsDone = windows.length < CHUNK_WINDOWS;
      }
      if (!walk.rowsDone) this.leftOut += 1;
    }
  }

  private async lookThrough(
    groups: readonly SpanGroup[],
    share: number,
    onReached: (partition: number, ms: number) => void,
  ): Promise<void> {
    for (const [i, group] of groups.entries()) {
      this.options.signal.throwIfAborted();
      if (i > 0 && !this.hasTime(share)) this.leftOut += 1;
      else {
        const reachedMs = await this.lookThroughGroup(group, share);
        // One that is ahead of the others in its group stays where it is.
        for (const { partition, fromMs, toMs } of group.partitions) {
          onReached(partition, Math.max(fromMs, Math.min(toMs, reachedMs)));
        }
      }
    }
  }

  /** @returns up to which ms it was looked through: one at least */
  private async lookThroughGroup(group: SpanGroup, share: number): Promise<number> {
    for (let { fromMs } = group; ; ) {
      const from = fromMs;
      const touched = await withSnapshot(this.options, (snapshot) =>
        findTouched(snapshot, { ...group, fromMs: from }, this.limits),
      );
      const { windows, total, passedOver } = touched;
      const firstMs = windows[0]?.lastMs ?? 0;
      const ofFirstMs = windows.findIndex(({ lastMs }) => lastMs > firstMs);
      const looked = await this.compareUntil(windows, share, ofFirstMs === -1 ? windows.length : ofFirstMs);
      const next = windows[looked];
      fromMs = next === undefined ? touched.reachedMs : Math.min(touched.reachedMs, next.lastMs - 1);
      if (passedOver > 0) {
        this.leftOut += passedOver;
        for (const { partition } of group.partitions) this.unproven.add(partition);
      }
      if (fromMs >= group.toMs) return fromMs;
      if (next !== undefined || !this.hasTime(share)) {
        this.leftOut += Math.max(1, total - looked - passedOver);
        return fromMs;
      }
    }
  }

  /**
   * @param atLeast so many are looked at however long it takes
   * @returns how many of them, the first ones, were looked at
   */
  private async compareUntil(
    windows: readonly Pick<TouchedWindow, 'key' | 'events'>[],
    share: number,
    atLeast = 1,
  ): Promise<number> {
    let begin = 0;
    while (begin < windows.length && (begin < atLeast || this.hasTime(share))) {
      const keys: WindowKey[] = [];
      let events = 0;
      while (begin < windows.length && keys.length < CHUNK_WINDOWS && events < CHUNK_EVENTS) {
        const window = windows[begin]!;
        begin += 1;
        if (this.done.has(keyText(window.key))) continue;
        events += window.events;
        keys.push(window.key);
      }
      if (keys.length > 0) await this.compare(keys);
    }
    return begin;
  }

  private async compare(keys: readonly WindowKey[]): Promise<void> {
    const compared = await this.comparison.compare(keys, BOTH);
    this.tally.add(compared);
    for (const { key, pending } of compared) {
      if (pending) this.unproven.add(key.partition);
      else this.done.add(keyText(key));
    }
  }

  private verifiedBy({ plan, freshMs, againMs, row, rowsDone }: Walk): Verified {
    const { position, positionMs, again, againToMs } = plan;
    const begun = again.begun ?? { ms: freshMs, ...position, unproven: false };
    const unproven = begun.unproven || this.unproven.has(plan.partition);
    if (againMs < againToMs || !rowsDone) {
      const left = { ms: againMs, row, begun: { ...begun, unproven } };
      return { ms: freshMs, ...position, calm: false, again: left };
    }
    const isSame = begun.stream === position.stream && begun.outbox === position.outbox;
    const calm = freshMs === positionMs && isSame && !unproven;
    return { ms: freshMs, ...position, calm, again: passBefore(begun.ms, this.spans) };
  }

  /** Partitions that the archive has no position of any more are forgotten. */
  private verifiedBefore({ positions }: ArchiveState): Map<number, Verified> {
    return new Map([...this.before.verified].filter(([partition]) => positions.has(partition)));
  }

  /** Of the partition that is furthest behind. */
  private lagMs({ positions }: ArchiveState, verified: ReadonlyMap<number, Verified>): number {
    const lags = [...positions].map(([partition, { stream }]) => {
      const known = verified.get(partition);
      return known === undefined ? 0 : msOf(stream) - provenMs(known, this.spans);
    });
    return Math.max(0, ...lags);
  }

  private hasTime(share: number): boolean {
    return performance.now() - this.begunAt < this.runMsMax * share;
  }
}

function walkOf(plan: PartitionPlan): Walk {
  const { knownMs, again } = plan;
  return { plan, freshMs: knownMs, againMs: again.ms, row: again.row, rowsDone: false };
}
