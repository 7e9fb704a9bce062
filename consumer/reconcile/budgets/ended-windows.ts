import type { Snapshot } from '../archive-snapshot.js';
import { textOrNull } from '../window-key.js';
import type { BudgetWindowKey } from './budget-window-key.js';
import { isDate } from './hot-budgets.js';

/** A window as Postgres has it. */
export interface EndedWindow {
  /** Entries of the ledger that it says it is made of; of levels that disagree about it, the most. */
  readonly entries: number;
  readonly levels: ReadonlyMap<string, { readonly settled: number; readonly entries: number }>;
}

/** Served by budget_windows_pkey (tenant_id, epoch, window_start, level). */
const READ = `
SELECT k.n, w.level, w.settled::text AS settled, w.entries::text AS entries
FROM jsonb_to_recordset($1::jsonb) AS k(n integer, tenant text, epoch bigint, start timestamptz)
JOIN budget_windows w ON w.tenant_id = k.tenant AND w.epoch = k.epoch AND w.window_start = k.start`;

/** @returns in the order of the keys; undefined: no such window */
export async function readEndedWindows(
  snapshot: Snapshot,
  keys: readonly BudgetWindowKey[],
): Promise<(EndedWindow | undefined)[]> {
  const rows = await snapshot.query<{ n: number; level: string; settled: string; entries: string }>(READ, [
    JSON.stringify(
      keys.map(({ tenant, epoch = -1, start }, n) => ({
        ...{ n, tenant: textOrNull(tenant), epoch },
        start: isDate(start) ? new Date(start).toISOString() : null,
      })),
    ),
  ]);
  const found = new Map<number, Map<string, { settled: number; entries: number }>>();
  for (const { n, level, settled, entries } of rows) {
    const levels = found.get(n) ?? new Map<string, { settled: number; entries: number }>();
    levels.set(level, { settled: Number(settled), entries: Number(entries) });
    found.set(n, levels);
  }
  return keys.map((_, n) => {
    const levels = found.get(n);
    return levels && { entries: Math.max(...[...levels.values()].map(({ entries }) => entries)), levels };
  });
}

/** Where a walk through the windows has come. */
export interface EndedCursor {
  /** ms. */
  readonly start: number;
  readonly tenant: string;
  readonly epoch: number;
}

interface PageRow {
  readonly tenant: string;
  readonly epoch: number;
  readonly start: Date;
}

/** Served by budget_windows_recent (window_start, tenant_id, epoch). */
const PAGE = `
SELECT DISTINCT window_start AS start, tenant_id AS tenant, epoch
FROM budget_windows
WHERE (window_start, tenant_id, epoch) > ($1, $2, $3)
ORDER BY window_start, tenant_id, epoch LIMIT $4`;

/** Ended windows of all tenants by their start, the first ones after the cursor. */
export async function nextEnded(
  snapshot: Snapshot,
  { start, tenant, epoch }: EndedCursor,
  limit: number,
): Promise<readonly (BudgetWindowKey & EndedCursor)[]> {
  const rows = await snapshot.query<PageRow>(PAGE, [new Date(start), tenant, epoch, limit]);
  return rows.map((row) => ({ tenant: row.tenant, epoch: row.epoch, start: row.start.getTime() }));
}
