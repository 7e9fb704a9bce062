import type { Snapshot } from '../archive-snapshot.js';
import type { BudgetWindowKey } from './budget-window-key.js';

/** From `fromMs` to before `toMs`. */
export interface LedgerSlice {
  readonly fromMs: number;
  readonly toMs: number;
}

/** When the first entry at or after a time was made, ms; undefined: there is none. Served by the primary key. */
export async function nextEntryMs(snapshot: Snapshot, fromMs: number): Promise<number | undefined> {
  const [row] = await snapshot.query<{ next: Date | null }>(
    'SELECT min(at) AS next FROM budget_ledger WHERE at >= $1',
    [new Date(fromMs)],
  );
  return row?.next?.getTime();
}

/** A range of the primary key, whose first column is `at`; then the primary key of budget_windows for each window. */
const WITHOUT_ROW = `
SELECT l.tenant_id AS tenant, l.epoch, l.window_start AS start
FROM (
  SELECT DISTINCT tenant_id, epoch, window_start FROM budget_ledger
  WHERE at >= $1 AND at < $2 AND window_start >= $3
) AS l
WHERE NOT EXISTS (SELECT FROM budget_windows w
  WHERE w.tenant_id = l.tenant_id AND w.epoch = l.epoch AND w.window_start = l.window_start)`;

/** Windows that have entries in the slice, and that Postgres has no ended window of. */
export async function windowsWithoutRow(
  snapshot: Snapshot,
  { fromMs, toMs }: LedgerSlice,
  sinceMs: number,
): Promise<BudgetWindowKey[]> {
  const rows = await snapshot.query<{ tenant: string; epoch: number; start: Date }>(WITHOUT_ROW, [
    new Date(fromMs),
    new Date(toMs),
    new Date(sinceMs),
  ]);
  return rows.map(({ tenant, epoch, start }) => ({ tenant, epoch, start: start.getTime() }));
}

/** The entries of one ledger in a slice. */
export interface LedgerRun {
  readonly tenant: string;
  readonly epoch: number;
  readonly first: number;
  readonly last: number;
  readonly firstMs: number;
  readonly lastMs: number;
  readonly entries: number;
}

/** A range of the primary key. */
const RUNS = `
SELECT tenant_id AS tenant, epoch, min(seq) AS first, max(seq) AS last, min(at) AS first_at, max(at) AS last_at,
  count(*) AS entries
FROM budget_ledger WHERE at >= $1 AND at < $2
GROUP BY tenant_id, epoch`;

export async function readRuns(snapshot: Snapshot, { fromMs, toMs }: LedgerSlice): Promise<LedgerRun[]> {
  const rows = await snapshot.query<{
    tenant: string;
    epoch: number;
    first: number;
    last: number;
    first_at: Date;
    last_at: Date;
    entries: number;
  }>(RUNS, [new Date(fromMs), new Date(toMs)]);
  return rows.map(({ first_at, last_at, ...run }) => ({
    ...{ ...run, firstMs: first_at.getTime(), lastMs: last_at.getTime() },
  }));
}

/** A range of the primary key. */
const FIRST_GAP = `
SELECT before + 1 AS expected, seq AS found
FROM (
  SELECT seq, lag(seq, 1, $5::bigint) OVER (ORDER BY seq) AS before
  FROM budget_ledger WHERE at >= $1 AND at <= $2 AND tenant_id = $3 AND epoch = $4 AND seq > $5 AND seq <= $6
) AS numbered
WHERE seq <> before + 1
ORDER BY seq LIMIT 1`;

/**
 * The first number after `after` and up to `upTo` that does not follow the one before it; undefined: all do.
 * @param slice in which they were made, `toMs` included
 */
export async function firstGap(
  snapshot: Snapshot,
  { fromMs, toMs }: LedgerSlice,
  { tenant, epoch, after, upTo }: { tenant: string; epoch: number; after: number; upTo: number },
): Promise<{ readonly expected: number; readonly found: number } | undefined> {
  const [row] = await snapshot.query<{ expected: number; found: number }>(FIRST_GAP, [
    ...[new Date(fromMs), new Date(toMs), tenant, epoch, after, upTo],
  ]);
  return row;
}
