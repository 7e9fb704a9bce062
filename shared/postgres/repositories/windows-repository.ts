import { type Selectable, sql } from 'kysely';
import { decodeSketch } from '../../state/latency-sketch.js';
import type { Dimension } from '../../state/metering-state.js';
import { partitionName } from '../../topics.js';
import { messagePosition, type UsageWindow } from '../../usage/usage-window.js';
import type { AggregationData, DimensionRow, Schema } from '../schema.js';
import type { TenantTransaction } from '../tenant-context.js';
import { ofCustomer, ofTenant, startingAt, startingIn } from './usage-filters.js';

/** Windows read up to a number of bytes. */
export interface WindowRows {
  /** Ascending by start; at least one, if there is any. */
  readonly windows: readonly UsageWindow[];
  /** The start of the first one that was found and not read, for the bytes were used up. */
  readonly unread: number | undefined;
}

/**
 * Archived windows of a customer that start in [from, to), the first `limit`, ascending; none after the one with which
 * their `aggregation_data` reaches `bytesMax`.
 * Served by the unique index (tenant_id, customer_id, window_start), read in its order up to the limit.
 */
export async function findWindows(
  trx: TenantTransaction,
  customer: string,
  { from, to }: { readonly from: number; readonly to: number },
  limit: number,
  bytesMax: number,
): Promise<WindowRows> {
  return read(trx, windowsOf(trx, customer).where(startingIn(from, to)), limit, bytesMax);
}

/** Archived windows of a customer that start at one of these times (ms), likewise. Served as above. */
export async function findWindowsAt(
  trx: TenantTransaction,
  customer: string,
  starts: readonly number[],
  bytesMax: number,
): Promise<WindowRows> {
  return read(trx, windowsOf(trx, customer).where(startingAt(starts)), starts.length, bytesMax);
}

/** How many archived windows of a customer start in [from, to); counting stops at `most`. Served as above. */
export async function countWindows(
  trx: TenantTransaction,
  customer: string,
  { from, to }: { readonly from: number; readonly to: number },
  most: number,
): Promise<number> {
  const found = trx
    .selectFrom('aggregation_windows')
    .select('window_start')
    .where(ofTenant())
    .where(ofCustomer(customer))
    .where(startingIn(from, to))
    .limit(most);
  const { count } = await trx
    .selectFrom(found.as('found'))
    .select((eb) => eb.fn.countAll<number>().as('count'))
    .executeTakeFirstOrThrow();
  return count;
}

const COLUMNS = [
  'window_start',
  'window_end',
  'status',
  'revision',
  'partition',
  'total_calls',
  'total_tokens',
  'total_input_tokens',
  'total_output_tokens',
  'latency_count',
  'latency_sum_us',
  'late_events',
  'as_of_at',
  'as_of_seq',
  'as_of_index',
] as const;

type WindowRow = Pick<Selectable<Schema['aggregation_windows']>, (typeof COLUMNS)[number]>;

function windowsOf(trx: TenantTransaction, customer: string) {
  return trx
    .selectFrom('aggregation_windows')
    .select(COLUMNS)
    .select('aggregation_data')
    .where(ofTenant())
    .where(ofCustomer(customer));
}

/** Length of the rows before, as text: what is sent is text, and a stored row says nothing of it (it is compressed). */
const BYTES_BEFORE = sql<number>`coalesce(sum(octet_length(aggregation_data::text))
  OVER (ORDER BY window_start ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0)`;

/**
 * The server measures before it sends: rows are of 200 bytes or of 1 MiB, and how long the next ones are cannot be told
 * from those before.
 */
async function read(
  trx: TenantTransaction,
  windows: ReturnType<typeof windowsOf>,
  limit: number,
  bytesMax: number,
): Promise<WindowRows> {
  const found = windows.orderBy('window_start').limit(limit).as('found');
  const measured = trx.selectFrom(found).selectAll().select(BYTES_BEFORE.as('bytes_before')).as('measured');
  const data = sql<AggregationData | null>`CASE WHEN bytes_before < ${bytesMax} THEN aggregation_data END`;
  const rows = await trx
    .selectFrom(measured)
    .select(COLUMNS)
    .select(data.as('data'))
    .orderBy('window_start')
    .execute();
  return {
    windows: rows.flatMap((row) => (row.data === null ? [] : windowOfRow(row, row.data))),
    unread: rows.find((row) => row.data === null)?.window_start.getTime(),
  };
}

function windowOfRow(row: WindowRow, { endpoints, models, latency }: AggregationData): UsageWindow {
  const atMs = row.as_of_at.getTime();
  const entry = `${atMs}-${row.as_of_seq}`;
  const partition = partitionName({ topic: 'usage', index: row.partition });
  return {
    start: row.window_start.getTime(),
    end: row.window_end.getTime(),
    status: row.status,
    revision: row.revision,
    // What is archived was emitted: the burst it may have come from is over.
    settling: false,
    late: row.late_events,
    calls: row.total_calls,
    tokens: row.total_tokens,
    inputTokens: row.total_input_tokens,
    outputTokens: row.total_output_tokens,
    latencyCount: row.latency_count,
    latencySumUs: row.latency_sum_us,
    latency: decodeSketch(latency),
    byEndpoint: dimensionOf(endpoints),
    byModel: dimensionOf(models),
    last: { atMs, position: messagePosition(partition, entry, row.as_of_index) },
  };
}

function dimensionOf(rows: readonly DimensionRow[]): Dimension {
  return new Map(rows.map(([name, calls, tokens]) => [name, { calls, tokens }]));
}
