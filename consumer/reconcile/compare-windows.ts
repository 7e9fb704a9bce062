import { setTimeout as sleep } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import type pg from 'pg';
import type { Keys } from '../../shared/keys.js';
import type { Difference } from '../../shared/reconciliation/reconciliation.js';
import { compareEntryIds } from '../engine/head.js';
import {
  type ArchiveState,
  msOf,
  positionOf,
  readArchiveState,
  type Snapshot,
  withSnapshot,
} from './archive-snapshot.js';
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
 * the archive's position has passed by so much that they should have closed or revised the window are `overdue`. The
 * emission precedes the verdicts on all that is folded after it in the outbox, so this needs no clock.
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
    await this.waitForArchive(windows, hot);
    return withSnapshot(this.options, async (snapshot) => {
      const archive = await readArchiveState(snapshot);
      const rows = sides.closed ? await readRows(snapshot, windows) : [];
      const states = windows.map((key, i): WindowState => ({ key, hot: hot[i]!, row: rows[i] }));
      return this.compareStates(snapshot, archive, states, sides);
    });
  }

  /** Until the archive has the last event of every document, or the patience is used up. */
  private async waitForArchive(windows: readonly WindowKey[], hot: readonly HotWindow[]): Promise<void> {
    const begunAt = performance.now();
    const ahead = (archive: ArchiveState): boolean =>
      windows.some((key, i) => isAhead(hot[i]!, positionOf(archive, key.partition)));
    if (!hot.some(({ kind }) => kind === 'window')) return;
    while (performance.now() - begunAt < this.patienceMs) {
      if (!ahead(await withSnapshot(this.options, readArchiveState))) break;
      await sleep(ARCHIVE_POLL_MS);
    }
    this.patienceMs -= performance.now() - begunAt;
  }

  private async compareStates(
    snapshot: Snapshot,
    archive: ArchiveState,
    states: readonly WindowState[],
    sides: Sides,
  ): Promise<Compared[]> {
    const claims: Claim[] = [];
    const claim = (made: Claim): number => claims.push(made) - 1;
    const claimed = states.map((state) => {
      const { key, hot, row } = state;
      const position = positionOf(archive, key.partition);
      const outside = acceptedFrom(key.start) < archive.droppedBefore;
      const comparable = hot.kind === 'window' && !isAhead(hot, position);
      return {
        ...{ ...state, outside, pending: !outside && (hot.kind === 'newer' || isAhead(hot, position)) },
        hotClaim: comparable && !outside ? claim(claimOf(key, hot, 0)) : undefined,
        rowClaim:
          sides.closed && !outside
            ? claim(claimOf(key, row, this.overdueBefore(key, msOf(position))))
            : undefined,
      };
    });
    const raw = await recount(snapshot, claims);
    const of = (n: number | undefined): Recounted | undefined => (n === undefined ? undefined : raw[n]);
    return claimed.map(({ key, hot, row, outside, pending, hotClaim, rowClaim }) => {
      const found = [
        ...(outside ? [] : hotDifferences(key, hot, of(hotClaim))),
        ...rowDifferences(key, row, of(rowClaim)),
      ];
      const compared = hotClaim !== undefined || (row !== undefined && !outside) || found.length > 0;
      return { key, compared, pending, outside, differences: found };
    });
  }

  /** Events of the window accepted before this should be in its row, ms; 0: it need not be closed yet. */
  private overdueBefore({ start }: WindowKey, positionMs: number): number {
    const { windowMs, latenessMs, revisionDelayMs } = this.options.times;
    const isClosed = start + windowMs + latenessMs + SLACK_MS < positionMs;
    return isClosed ? positionMs - revisionDelayMs - SLACK_MS : 0;
  }
}

interface WindowState {
  readonly key: WindowKey;
  readonly hot: HotWindow;
  readonly row: WindowRow | undefined;
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
    ...{ key, asOf, overdueBefore },
    endpoints: ownNames(sums.endpoints),
    models: ownNames(sums.models),
  };
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
