import type { Snapshot } from './archive-snapshot.js';
import type { WindowKey } from './window-key.js';

/** Windows that may have something to compare, found in Postgres. */
interface FoundRow {
  readonly tenant: string;
  readonly customer: string;
  readonly customer_id: number;
  readonly partition: number;
  readonly start: Date;
}

/** A window, how many events of it are in the span, and when the last of them was accepted, ms. */
export interface TouchedWindow {
  readonly key: WindowKey;
  readonly events: number;
  readonly lastMs: number;
}

export interface Touched {
  /** In the order of `lastMs`. */
  readonly windows: readonly TouchedWindow[];
  /** Up to which ms the span was looked through. */
  readonly reachedMs: number;
}

/** Accepted after `fromMs`, up to and including `toMs`. */
export interface Span {
  readonly fromMs: number;
  readonly toMs: number;
}

export interface TouchedLimits {
  /** Events looked at. */
  readonly rowsMax: number;
  /** Windows returned. */
  readonly windowsMax: number;
}

/** A range of the primary key of usage_events, whose first column is accepted_at. */
const TOUCHED = `
SELECT e.tenant_id AS tenant, coalesce(c.external_id, '#' || e.customer_id) AS customer, e.customer_id, e.partition,
  e.window_start AS start, e.events, e.last, e.scanned, e.reached
FROM (
  SELECT tenant_id, customer_id, partition, window_start, count(*) AS events, max(accepted_at) AS last,
    sum(count(*)) OVER () AS scanned, max(max(accepted_at)) OVER () AS reached
  FROM (
    SELECT tenant_id, customer_id, partition, window_start, accepted_at
    FROM usage_events
    WHERE accepted_at > $1 AND accepted_at <= $2 AND status IN ('accepted', 'late')
    ORDER BY accepted_at LIMIT $3
  ) AS looked_at
  GROUP BY tenant_id, customer_id, partition, window_start
  ORDER BY last LIMIT $4
) AS e
LEFT JOIN customers c ON c.id = e.customer_id
ORDER BY e.last`;

/** The windows of the events of a span. Where a limit cuts it short `reachedMs` is less than its end. */
export async function findTouched(
  snapshot: Snapshot,
  { fromMs, toMs }: Span,
  { rowsMax, windowsMax }: TouchedLimits,
): Promise<Touched> {
  const rows = await snapshot.query<
    FoundRow & { events: number; last: Date; scanned: string; reached: Date }
  >(TOUCHED, [new Date(fromMs), new Date(toMs), rowsMax, windowsMax]);
  const windows = rows.map((row) => ({ key: keyOf(row), events: row.events, lastMs: row.last.getTime() }));
  // What was cut off may lie within the same ms.
  let reachedMs = toMs;
  if (Number(rows[0]?.scanned ?? 0) >= rowsMax) reachedMs = rows[0]!.reached.getTime() - 1;
  if (rows.length >= windowsMax) reachedMs = Math.min(reachedMs, rows.at(-1)!.last.getTime() - 1);
  return { windows, reachedMs };
}

/** Served by aggregation_windows_recent (partition, window_start). */
const ROWS = `
SELECT w.id, w.tenant_id AS tenant, c.external_id AS customer, w.customer_id, w.partition, w.window_start AS start
FROM aggregation_windows w JOIN customers c ON c.id = w.customer_id
WHERE w.partition = $1 AND (w.window_start, w.id) > ($2, $3) AND w.window_start <= $4
ORDER BY w.window_start, w.id LIMIT $5`;

/** Where a walk through the rows of a partition has come. */
export interface RowCursor {
  readonly start: Date;
  readonly id: number;
}

/** Closed windows of a partition that begin after `after`, or at it with a greater id, and up to `toMs`. */
export async function findRows(
  snapshot: Snapshot,
  { partition, after, toMs, limit }: { partition: number; after: RowCursor; toMs: number; limit: number },
): Promise<{ windows: readonly WindowKey[]; last: RowCursor | undefined }> {
  const rows = await snapshot.query<FoundRow & { id: number }>(ROWS, [
    partition,
    after.start,
    after.id,
    new Date(toMs),
    limit,
  ]);
  const last = rows.at(-1);
  return { windows: rows.map(keyOf), last: last && { start: last.start, id: last.id } };
}

/** The next partition that has windows; undefined: there is none. Served by aggregation_windows_recent. */
export async function nextPartition(snapshot: Snapshot, after: number): Promise<number | undefined> {
  const [row] = await snapshot.query<{ next: number | null }>(
    'SELECT min(partition) AS next FROM aggregation_windows WHERE partition > $1',
    [after],
  );
  return row?.next ?? undefined;
}

/** As TOUCHED, only windows without a row: their unique index is asked for each. */
const WITHOUT_ROW = `
SELECT e.tenant_id AS tenant, coalesce(c.external_id, '#' || e.customer_id) AS customer, e.customer_id, e.partition,
  e.window_start AS start
FROM (
  SELECT DISTINCT tenant_id, customer_id, partition, window_start
  FROM usage_events
  WHERE accepted_at >= $1 AND accepted_at < $2 AND window_start >= $3 AND status IN ('accepted', 'late')
) AS e
LEFT JOIN customers c ON c.id = e.customer_id
WHERE NOT EXISTS (SELECT FROM aggregation_windows w
  WHERE w.tenant_id = e.tenant_id AND w.customer_id = e.customer_id AND w.window_start = e.window_start)`;

/** The windows of events accepted from `fromMs` to before `toMs` that Postgres has no window of. */
export async function findWithoutRow(
  snapshot: Snapshot,
  { fromMs, toMs }: Span,
  sinceMs: number,
): Promise<readonly WindowKey[]> {
  const parameters = [new Date(fromMs), new Date(toMs), new Date(sinceMs)];
  return (await snapshot.query<FoundRow>(WITHOUT_ROW, parameters)).map(keyOf);
}

/** When the first event at or after a time was accepted, ms; undefined: there is none. Served by the primary key. */
export async function nextAcceptedMs(snapshot: Snapshot, fromMs: number): Promise<number | undefined> {
  const [row] = await snapshot.query<{ next: Date | null }>(
    'SELECT min(accepted_at) AS next FROM usage_events WHERE accepted_at >= $1',
    [new Date(fromMs)],
  );
  return row?.next?.getTime();
}

/** Served by the unique index (tenant_id, external_id) of customers. */
const CUSTOMER_IDS = `
SELECT k.n, c.id FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS k(tenant, customer, n)
JOIN customers c ON c.tenant_id = k.tenant AND c.external_id = k.customer`;

/** Adds what Postgres calls the customers that have no id yet. */
export async function withCustomerIds(
  snapshot: Snapshot,
  windows: readonly WindowKey[],
): Promise<readonly WindowKey[]> {
  const unknown = windows.filter(({ customerId }) => customerId === null);
  if (unknown.length === 0) return windows;
  const rows = await snapshot.query<{ n: number; id: number }>(CUSTOMER_IDS, [
    unknown.map(({ tenant }) => tenant),
    unknown.map(({ customer }) => customer),
  ]);
  const ids = new Map(rows.map(({ n, id }) => [unknown[Number(n) - 1], id]));
  return windows.map((window) => ({ ...window, customerId: window.customerId ?? ids.get(window) ?? null }));
}

function keyOf({ tenant, customer, customer_id, partition, start }: FoundRow): WindowKey {
  return { tenant, customer, customerId: customer_id, partition, start: start.getTime() };
}
