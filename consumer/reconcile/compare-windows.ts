import { setTimeout as sleep } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import type pg from 'pg';
import type { Keys } from '../../shared/keys.js';
import type { Difference } from '../../shared/reconciliation/reconciliation.js';
import { compareEntryIds } from '../engine/head.js';
import {
  type ArchiveState,
  positionOf,
  readArchiveState,
  type Snapshot,
  withSnapshot,
} from './archive-snapshot.js';
import { withCustomerIds } from './find-windows.js';
import { type FoldProgress, hasAllOf, readFoldProgress } from './fold-progress.js';
import { type HotWindow, readHotWindows } from './hot-windows.js';
import { acceptedFrom, type Claim, type Recounted, recount } from './recount.js';
import { NOWHERE, type WindowKey } from './window-key.js';
import { readRows, type WindowRow } from './window-rows.js';
import { differences, NO_SUMS, ownNames, type WindowSums } from './window-sums.js';

/** Time that an emission may be late for no fault of its own: clocks that were set back. */
const SLACK_MS = 10_000;
const ARCHIVE_POLL_MS = 100;

export interface WindowTimes {
  /** WINDOW_SECONDS, ALLOWED_LATENESS_SECONDS and REVISION_DELAY_MS, in ms. */
  readonly windowMs: number;
  readonly latenessMs: number;
  readonly revisionDelayMs: number;
}

export interface CompareOptions {
  readonly redis: Redis;
  readonly keys: Keys;
  readonly pool: pg.Pool;
  readonly times: WindowTimes;
  readonly statementMsMax: number;
  /** How long all comparisons together may wait for the archive to reach what they found in Redis. */
  readonly patienceMs: number;
  /** A window is due only so long after it should be there; absent: 10 s. */
  readonly slackMs?: number;
  readonly signal: AbortSignal;
}

/** What became of one window. */
export interface Compared {
  readonly key: WindowKey;
  /** At least one sum was compared. */
  readonly compared: boolean;
  /** Its document in Redis counts events that the archive does not have yet, or is of a newer version. */
  readonly pending: boolean;
  /** Older than the raw events that are kept. */
  readonly outside: boolean;
  readonly differences: readonly Difference[];
}

/** Which of the two is held against the raw events. */
export interface Sides {
  readonly hot: boolean;
  readonly closed: boolean;
}

/**
 * Holds windows in Redis and windows in Postgres against the raw events in Postgres.
 *
 * A window, wherever it lies, is a claim: "these are the sums of all my events up to `asOf`", which is a place in
 * the stream of its partition. What lies up to a place never changes any more, neither in the claim nor among the raw
 * events, so the two can be compared at any later time, as soon as the raw events up to there are all stored:
 *
 * - A row is stored in one transaction with, or after, the raw events it counts: in one snapshot they belong together.
 * - A document is ahead of the archive. It is compared when the archive's position, read in the same snapshot as the
 *   raw events, has reached its `asOf`; else it waits for another time (`pending`).
 *
 * Hence the order of reading cannot make a false difference; it only decides how much is comparable. Documents are
 * read first, then the archive gets some time to reach them, then the snapshot is taken. The other way round, windows
 * that are being counted would always be ahead. A document that changes or leaves in between was still right as of
 * its own `asOf`.
 *
 * That a row is right as of its `asOf` does not say that it is up to date. So events after it are counted too: those
 * that by the partition's own time must have closed or revised the window are `overdue`, if the archive has all that
 * the fold had said up to that time (see fold-progress.ts). This needs no clock of ours either.
 */
export class WindowComparison {
  private patienceMs: number;

  constructor(private readonly options: CompareOptions) {
    this.patienceMs = options.patienceMs;
  }

  /** @param windows a few hundred at a time. @throws what the drivers throw; the reason of the signal */
  async compare(windows: readonly WindowKey[], sides: Sides): Promise<Compared[]> {
    const { redis, keys } = this.options;
    const hot = sides.hot
      ? await readHotWindows(redis, keys, windows)
      : windows.map((): HotWindow => ({ kind: 'none' }));
    const progress = await this.readProgress(windows);
    await this.waitForArchive({ windows, hot, progress });
    return withSnapshot(this.options, async (snapshot) => {
      const archive = await readArchiveState(snapshot);
      // A customer may have come to Postgres since the window was found.
      const known = await withCustomerIds(snapshot, windows);
      const rows = sides.closed ? await readRows(snapshot, known) : [];
      const states = known.map((key, i): WindowState => ({ key, hot: hot[i]!, row: rows[i] }));
      const due = (key: WindowKey): number => this.overdueBefore(key, archive, progress);
      return compareStates(snapshot, archive, { states, sides, due });
    });
  }

  private async readProgress(windows: readonly WindowKey[]): Promise<Progress> {
    const { redis, keys } = this.options;
    const partitions = [...new Set(windows.map(({ partition }) => partition))];
    return new Map(
      await Promise.all(
        partitions.map(async (each) => [each, await readFoldProgress(redis, keys, each)] as const),
      ),
    );
  }

  /** Until the archive has all that was found in Redis, or the patience is used up. */
  private async waitForArchive({ windows, hot, progress }: Found): Promise<void> {
    const begunAt = performance.now();
    const isThere = (archive: ArchiveState): boolean =>
      [...progress].every(([partition, each]) => hasAllOf(archive, partition, each)) &&
      !windows.some((key, i) => isAhead(hot[i]!, positionOf(archive, key.partition)));
    while (performance.now() - begunAt < this.patienceMs) {
      if (isThere(await withSnapshot(this.options, readArchiveState))) break;
      await sleep(ARCHIVE_POLL_MS);
    }
    this.patienceMs -= performance.now() - begunAt;
  }

  /** Events of the window accepted before this should be in its row, ms; 0: none need be. */
  private overdueBefore({ start, partition }: WindowKey, archive: ArchiveState, progress: Progress): number {
    const { times, slackMs = SLACK_MS } = this.options;
    const { windowMs, latenessMs, revisionDelayMs } = times;
    const folded = progress.get(partition)!;
    const isClosed = start + windowMs + latenessMs + slackMs < folded.at;
    return isClosed && hasAllOf(archive, partition, folded) ? folded.at - revisionDelayMs - slackMs : 0;
  }
}

/** By partition. */
type Progress = ReadonlyMap<number, FoldProgress>;

/** What Redis says, in the order of the windows. */
interface Found {
  readonly windows: readonly WindowKey[];
  readonly hot: readonly HotWindow[];
  readonly progress: Progress;
}

interface WindowState {
  readonly key: WindowKey;
  readonly hot: HotWindow;
  readonly row: WindowRow | undefined;
}

interface Comparable {
  readonly states: readonly WindowState[];
  readonly sides: Sides;
  /** Events of a window accepted before this are overdue if its row does not count them, ms. */
  readonly due: (key: WindowKey) => number;
}

async function compareStates(
  snapshot: Snapshot,
  archive: ArchiveState,
  { states, sides, due }: Comparable,
): Promise<Compared[]> {
  const claims: Claim[] = [];
  const claimed = states.map((state) => {
    const { key, hot, row } = state;
    const outside = acceptedFrom(key.start) < archive.droppedBefore;
    const ahead = isAhead(hot, positionOf(archive, key.partition));
    const rowClaim = sides.closed && !outside ? claimOf(key, row, due(key)) : undefined;
    const hotClaim = hot.kind === 'window' && !ahead && !outside ? claimOf(key, hot, 0) : undefined;
    const rowAt = rowClaim !== undefined && isWorthAsking(rowClaim) ? claims.push(rowClaim) - 1 : undefined;
    // A closed window at rest says the same in both places: asked once.
    const isSame = rowAt !== undefined && hotClaim !== undefined && isSameQuestion(hotClaim, rowClaim!);
    const hotAt = isSame ? rowAt : hotClaim && claims.push(hotClaim) - 1;
    return { ...state, outside, pending: !outside && (hot.kind === 'newer' || ahead), hotAt, rowAt };
  });
  const raw = await recount(snapshot, claims);
  const of = (n: number | undefined): Recounted | undefined => (n === undefined ? undefined : raw[n]);
  return claimed.map(({ key, hot, row, outside, pending, hotAt, rowAt }) => {
    const found = [
      ...(outside ? [] : hotDifferences(key, hot, of(hotAt))),
      ...rowDifferences(key, row, of(rowAt)),
    ];
    const compared = hotAt !== undefined || (row !== undefined && !outside) || found.length > 0;
    return { key, compared, pending, outside, differences: found };
  });
}

function isAhead(hot: HotWindow, position: string): boolean {
  return hot.kind === 'window' && compareEntryIds(hot.asOf.entry, position) > 0;
}

/** @param made by nobody: nothing is claimed, and every event is after it */
function claimOf(
  key: WindowKey,
  made: Pick<WindowRow, 'asOf' | 'sums'> | undefined,
  overdueBefore: number,
): Claim {
  const { asOf, sums } = made ?? { asOf: NOWHERE, sums: NO_SUMS };
  return {
    ...{ key, asOf, calls: sums.calls, overdueBefore },
    endpoints: ownNames(sums.endpoints),
    models: ownNames(sums.models),
  };
}

/** Where there is no window, and none need be, there is nothing to learn. */
function isWorthAsking({ asOf, overdueBefore }: Claim): boolean {
  return asOf !== NOWHERE || overdueBefore > 0;
}

/** What is overdue is only asked of the second. */
function isSameQuestion(one: Claim, other: Claim): boolean {
  const { entry, index } = one.asOf;
  const isSameList = (a: readonly string[], b: readonly string[]): boolean =>
    a.length === b.length && new Set([...a, ...b]).size === a.length;
  const isSamePlace = entry === other.asOf.entry && index === other.asOf.index;
  return isSamePlace && isSameList(one.endpoints, other.endpoints) && isSameList(one.models, other.models);
}

function hotDifferences(key: WindowKey, hot: HotWindow, raw: Recounted | undefined): Difference[] {
  if (hot.kind === 'broken') return [{ ...named(key), field: 'document' }];
  if (hot.kind !== 'window' || raw === undefined) return [];
  return differences(hot.sums, raw.sums).map((each) => ({
    ...{ ...named(key), field: each.field, hot: each.claimed, raw: each.raw },
  }));
}

function rowDifferences(
  key: WindowKey,
  row: WindowRow | undefined,
  raw: Recounted | undefined,
): Difference[] {
  if (raw === undefined) return [];
  const sums: WindowSums = row?.sums ?? NO_SUMS;
  const found: Difference[] = differences(sums, raw.sums).map((each) => ({
    ...{ ...named(key), field: each.field, closed: each.claimed, raw: each.raw },
  }));
  if (raw.overdue > 0) {
    const field = row === undefined ? 'row' : 'revision';
    found.push({ ...named(key), field, closed: 0, raw: raw.overdue });
  }
  return found;
}

function named({
  tenant,
  customer,
  start,
}: WindowKey): Pick<Difference, 'tenant' | 'customer' | 'windowStart'> {
  return { tenant, customer, windowStart: new Date(start).toISOString() };
}
