import { isText } from '../sinks/postgres/customers.js';
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
  /** How many there are with those that a limit cut off, as far as events were looked at. */
  readonly total: number;
  /** Up to which ms all windows are here or passed over; always after the beginning of the span. */
  readonly reachedMs: number;
  /** Windows up to `reachedMs` that are not here, at least: more in one ms than the limits allow. */
  readonly passedOver: number;
}

/** Accepted after `fromMs`, up to and including `toMs`. */
export interface Span {
  readonly fromMs: number;
  readonly toMs: number;
}

export interface PartitionSpan extends Span {
  readonly partition: number;
}

/** One range of usage_events that holds the spans of some partitions. */
export interface SpanGroup extends Span {
  readonly partitions: readonly PartitionSpan[];
}

export interface TouchedLimits {
  /** Events looked at. */
  readonly rowsMax: number;
  /** Windows returned. */
  readonly windowsMax: number;
}

/**
 * A range of the primary key of usage_events, whose first column is accepted_at. What was looked at is limited before it
 * is sorted out, so that a statement takes no longer where little of it is of use. One row at least.
 */
const TOUCHED = `
WITH touched AS (
  SELECT tenant_id, customer_id, partition, window_start, count(*) AS scanned, max(accepted_at) AS reached,
    count(*) FILTER (WHERE wanted) AS events, max(accepted_at) FILTER (WHERE wanted) AS last
  FROM (
    SELECT e.*, e.status IN ('accepted', 'late') AND e.accepted_at > p.after AND e.accepted_at <= p.upto AS wanted
    FROM (
      SELECT tenant_id, customer_id, partition, window_start, accepted_at, status
      FROM usage_events
      WHERE accepted_at > $1 AND accepted_at <= $2
      ORDER BY accepted_at LIMIT $3
    ) AS e
    LEFT JOIN unnest($5::smallint[], $6::timestamptz[], $7::timestamptz[]) AS p(partition, after, upto)
      ON p.partition = e.partition
  ) AS looked_at
  GROUP BY tenant_id, customer_id, partition, window_start
), seen AS (
  SELECT coalesce(sum(scanned), 0)::bigint AS scanned, max(reached) AS reached,
    count(*) FILTER (WHERE events > 0) AS total,
    count(*) FILTER (WHERE last = (SELECT min(last) FROM touched)) AS first
  FROM touched
)
SELECT seen.*, w.tenant_id AS tenant, coalesce(c.external_id, '#' || w.customer_id) AS customer, w.customer_id,
  w.partition, w.window_start AS start, w.events, w.last
FROM seen
LEFT JOIN (SELECT * FROM touched WHERE events > 0 ORDER BY last LIMIT $4) AS w ON true
LEFT JOIN customers c ON c.id = w.customer_id
ORDER BY w.last`;

interface TouchedRow extends FoundRow {
  readonly scanned: number;
  /** Null: there are no events. */
  readonly reached: Date | null;
  readonly total: number;
  /** Those of them whose last event is of the first ms. */
  readonly first: number;
  readonly events: number;
  /** Null: there are no windows. */
  readonly last: Date | null;
}

/**
 * The windows of the events of a span. Where a limit cuts it short, `reachedMs` is less than its end: the ms before the
 * cut, because what was cut off may lie within the same one. A single ms that is more than a limit is passed over, or
 * nobody would ever get beyond it (Redis gives all entries one ms while its clock is behind what it was).
 */
export async function findTouched(
  snapshot: Snapshot,
  { fromMs, toMs, partitions }: SpanGroup,
  { rowsMax, windowsMax }: TouchedLimits,
): Promise<Touched> {
  const rows = await snapshot.query<TouchedRow>(TOUCHED, [
    ...[new Date(fromMs), new Date(toMs), rowsMax, windowsMax],
    partitions.map(({ partition }) => partition),
    partitions.map((span) => new Date(span.fromMs)),
    partitions.map((span) => new Date(span.toMs)),
  ]);
  const { scanned, reached, total, first } = rows[0]!;
  const windows: TouchedWindow[] = [];
  for (const row of rows) {
    if (row.last !== null) windows.push({ key: keyOf(row), events: row.events, lastMs: row.last.getTime() });
  }
  let reachedMs = toMs;
  let passedOver = 0;
  const cutAt = (ms: number, missing: number): void => {
    const isPassed = ms - 1 <= fromMs;
    reachedMs = Math.min(reachedMs, isPassed ? ms : ms - 1);
    if (isPassed) passedOver = Math.max(passedOver, missing);
  };
  if (scanned >= rowsMax) cutAt(reached!.getTime(), 1);
  if (total > windows.length) cutAt(windows.at(-1)!.lastMs, first - windows.length);
  return { windows, total, reachedMs, passedOver };
}

/** Served by aggregation_windows_recent (partition, window_start). */
const ROWS = `
SELECT w.id, w.tenant_id AS tenant, c.external_id AS customer, w.customer_id, w.partition, w.window_start AS start
FROM aggregation_windows w JOIN customers c ON c.id = w.customer_id
WHERE w.partition = $1 AND (w.window_start, w.id) > ($2, $3) AND w.window_start <= $4
ORDER BY w.window_start, w.id LIMIT $5`;

/** Where a walk through the rows of a partition has come. */
export interface RowCursor {
  /** ms. */
  readonly start: number;
  readonly id: number;
}

/** Closed windows of a partition that begin after `after`, or at it with a greater id, and up to `toMs`. */
export async function findRows(
  snapshot: Snapshot,
  { partition, after, toMs, limit }: { partition: number; after: RowCursor; toMs: number; limit: number },
): Promise<{ windows: readonly WindowKey[]; last: RowCursor | undefined }> {
  const rows = await snapshot.query<FoundRow & { id: number }>(ROWS, [
    partition,
    new Date(after.start),
    after.id,
    new Date(toMs),
    limit,
  ]);
  const last = rows.at(-1);
  return { windows: rows.map(keyOf), last: last && { start: last.start.getTime(), id: last.id } };
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
  const unknown = windows.filter(
    ({ tenant, customer, customerId }) => customerId === null && isText(tenant) && isText(customer),
  );
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
