import type { Selectable } from 'kysely';
import { decodeSketch } from '../../state/latency-sketch.js';
import type { Dimension } from '../../state/metering-state.js';
import { partitionName } from '../../topics.js';
import { messagePosition, type UsageWindow } from '../../usage/usage-window.js';
import type { DimensionRow, Schema } from '../schema.js';
import type { TenantTransaction } from '../tenant-context.js';
import { ofCustomer, ofTenant, startingAt, startingIn } from './usage-filters.js';

/**
 * Archived windows of a customer that start in [from, to), the first `limit`, ascending.
 * Served by the unique index (tenant_id, customer_id, window_start), read in its order up to the limit.
 */
export async function findWindows(
  trx: TenantTransaction,
  customer: string,
  { from, to }: { readonly from: number; readonly to: number },
  limit: number,
): Promise<UsageWindow[]> {
  const rows = await windowsOf(trx, customer)
    .where(startingIn(from, to))
    .orderBy('window_start')
    .limit(limit)
    .execute();
  return rows.map(windowOfRow);
}

/** Archived windows of a customer that start at one of these times (ms), ascending. Served as above. */
export async function findWindowsAt(
  trx: TenantTransaction,
  customer: string,
  starts: readonly number[],
): Promise<UsageWindow[]> {
  const rows = await windowsOf(trx, customer).where(startingAt(starts)).orderBy('window_start').execute();
  return rows.map(windowOfRow);
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
  'aggregation_data',
  'as_of_at',
  'as_of_seq',
  'as_of_index',
] as const;

type WindowRow = Pick<Selectable<Schema['aggregation_windows']>, (typeof COLUMNS)[number]>;

function windowsOf(trx: TenantTransaction, customer: string) {
  return trx.selectFrom('aggregation_windows').select(COLUMNS).where(ofTenant()).where(ofCustomer(customer));
}

function windowOfRow(row: WindowRow): UsageWindow {
  const { endpoints, models, latency } = row.aggregation_data;
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
