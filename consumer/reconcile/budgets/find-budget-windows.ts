import type { Snapshot } from '../archive-snapshot.js';

/** A page of tenants. Served by tenants_pkey. */
const TENANTS = 'SELECT id FROM tenants WHERE id > $1 ORDER BY id LIMIT $2';

export async function nextTenants(
  snapshot: Snapshot,
  after: string,
  limit: number,
): Promise<readonly string[]> {
  return (await snapshot.query<{ id: string }>(TENANTS, [after, limit])).map(({ id }) => id);
}

/** Windows of one ledger that begin after `since`, ms. */
export interface Since {
  readonly tenant: string;
  readonly epoch: number;
  readonly since: number;
}

/**
 * A step of the recursion is one look into budget_ledger_window (tenant_id, epoch, window_start) of each day, however many
 * entries a window has; in budget_windows they lie together in its primary key.
 */
const WINDOWS = `
WITH RECURSIVE asked AS (
  SELECT n, tenant, epoch, since
  FROM jsonb_to_recordset($1::jsonb) AS q(n integer, tenant text, epoch bigint, since timestamptz)
), walked AS (
  SELECT n, tenant, epoch, 1 AS nth, (
    SELECT min(window_start) FROM budget_ledger l
    WHERE l.tenant_id = tenant AND l.epoch = asked.epoch AND l.window_start > since AND l.at > since) AS start
  FROM asked
  UNION ALL
  SELECT n, tenant, epoch, nth + 1, (
    SELECT min(window_start) FROM budget_ledger l
    WHERE l.tenant_id = tenant AND l.epoch = walked.epoch AND l.window_start > walked.start AND l.at > walked.start)
  FROM walked WHERE start IS NOT NULL AND nth < $2
)
SELECT n, start FROM walked WHERE start IS NOT NULL
UNION
SELECT n, ended.start FROM asked CROSS JOIN LATERAL (
  SELECT DISTINCT window_start AS start FROM budget_windows w
  WHERE w.tenant_id = tenant AND w.epoch = asked.epoch AND w.window_start > since
  ORDER BY window_start LIMIT $2
) AS ended
ORDER BY n, start`;

/** @returns the starts of the first windows of each that Postgres knows of, ascending, `limit` at most */
export async function findWindowsSince(
  snapshot: Snapshot,
  all: readonly Since[],
  limit: number,
): Promise<readonly (readonly number[])[]> {
  const rows = await snapshot.query<{ n: number; start: Date }>(WINDOWS, [
    JSON.stringify(all.map((each, n) => ({ ...each, n, since: new Date(each.since).toISOString() }))),
    limit,
  ]);
  const found = all.map((): number[] => []);
  for (const { n, start } of rows) found[n]!.push(start.getTime());
  return found.map((starts) => starts.slice(0, limit));
}
