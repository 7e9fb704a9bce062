import type { Difference, Reconciliation } from '../../shared/reconciliation/reconciliation.js';
import { withSnapshot } from './archive-snapshot.js';
import { type CompareOptions, WindowComparison } from './compare-windows.js';
import { findRows, findWithoutRow, nextAcceptedMs, nextPartition, type RowCursor } from './find-windows.js';
import { scanHotWindows } from './hot-windows.js';
import { acceptedFrom } from './recount.js';
import { Tally } from './tally.js';
import type { WindowKey } from './window-key.js';

/** Windows per comparison. */
const CHUNK = 500;
/** Raw events are looked through in pieces of this length. */
const SLICE_MS = 600_000;
/** The last time Postgres and ECMAScript agree about, roughly. */
const FOREVER_MS = Date.UTC(9999, 0, 1);

export interface FullOptions extends CompareOptions {
  /** Windows that begin before this are left alone, ms. */
  readonly sinceMs: number;
  readonly onDifference: (difference: Difference) => void;
}

/**
 * Compares everything that is kept: each window in Postgres once, each window in Redis once, and looks for raw events
 * without a window. Its memory is bounded, its time is not: it reads every raw event twice.
 */
export async function reconcileAll(options: FullOptions): Promise<Reconciliation> {
  const tally = new Tally(options.onDifference);
  const comparison = new WindowComparison(options);
  const compareChunks = async (windows: readonly WindowKey[], sides: { hot: boolean; closed: boolean }) => {
    for (let i = 0; i < windows.length; i += CHUNK) {
      tally.add(await comparison.compare(windows.slice(i, i + CHUNK), sides));
    }
  };
  for await (const windows of closedWindows(options)) {
    await compareChunks(windows, { hot: false, closed: true });
  }
  for await (const windows of windowsWithoutRow(options)) {
    await compareChunks(windows, { hot: false, closed: true });
  }
  for await (const windows of hotWindows(options)) {
    await compareChunks(windows, { hot: true, closed: false });
  }
  return tally.result();
}

async function* closedWindows(options: FullOptions): AsyncGenerator<readonly WindowKey[]> {
  for (let partition = -1; ; ) {
    const next = await withSnapshot(options, (snapshot) => nextPartition(snapshot, partition));
    if (next === undefined) return;
    partition = next;
    // Greater than (start, id): no id is 0.
    let after: RowCursor | undefined = { start: options.sinceMs, id: 0 };
    while (after !== undefined) {
      const from: RowCursor = after;
      const found = await withSnapshot(options, (snapshot) =>
        findRows(snapshot, { partition, after: from, toMs: FOREVER_MS, limit: CHUNK }),
      );
      yield found.windows;
      after = found.last;
    }
  }
}

async function* windowsWithoutRow(options: FullOptions): AsyncGenerator<readonly WindowKey[]> {
  const { sinceMs } = options;
  for (let fromMs = Math.max(0, acceptedFrom(sinceMs)); ; fromMs += SLICE_MS) {
    const found = await withSnapshot(options, async (snapshot) => {
      const next = await nextAcceptedMs(snapshot, fromMs);
      if (next === undefined) return undefined;
      fromMs = next;
      return findWithoutRow(snapshot, { fromMs, toMs: fromMs + SLICE_MS }, sinceMs);
    });
    if (found === undefined) return;
    yield found;
  }
}

async function* hotWindows(options: FullOptions): AsyncGenerator<readonly WindowKey[]> {
  const { redis, keys, sinceMs } = options;
  for await (const found of scanHotWindows(redis, keys)) {
    options.signal.throwIfAborted();
    yield found.filter(({ start }) => start >= sinceMs);
  }
}
