import { setImmediate } from 'node:timers/promises';
import type { StoredWindow } from '../../../shared/messages/window-emission.js';
import type { AggregationData } from '../../../shared/postgres/schema.js';
import type { Customer } from './customers.js';
import type { Transaction } from './transaction.js';

const WINDOWS_PER_STATEMENT = 200;
const CHARACTERS_PER_STATEMENT = 500_000;
const WINDOWS_PER_READ = 200;

/** A window whose customer has an id. */
export interface WindowRow {
  readonly customer: Customer;
  readonly window: StoredWindow;
}

const COLUMNS = `tenant_id text, customer_id bigint, window_start timestamptz, window_end timestamptz, status text,
  revision integer, partition smallint, total_calls bigint, total_tokens bigint, total_input_tokens bigint,
  total_output_tokens bigint, latency_count bigint, latency_sum_us bigint, late_events bigint,
  aggregation_data jsonb, as_of_at timestamptz, as_of_seq integer, as_of_index smallint`;
const NAMES = COLUMNS.split(',').map((column) => column.trim().split(' ')[0]!);

const KEY = ['tenant_id', 'customer_id', 'window_start'];
const REPLACED = NAMES.filter((name) => !KEY.includes(name));

/** Index: aggregation_windows_tenant_id_customer_id_window_start_key. */
const UPSERT = `INSERT INTO aggregation_windows AS stored (${NAMES.join(', ')})
  SELECT ${NAMES.join(', ')} FROM json_to_recordset($1::json) AS given (${COLUMNS})
  ON CONFLICT (${KEY.join(', ')}) DO UPDATE
  SET ${REPLACED.map((name) => `${name} = EXCLUDED.${name}`).join(', ')}`;

const IF_NEWER = `
  WHERE (stored.as_of_at, stored.as_of_seq, stored.as_of_index)
      < (EXCLUDED.as_of_at, EXCLUDED.as_of_seq, EXCLUDED.as_of_index)`;

/**
 * Stores windows as Redis has emitted them, each customer's window at most once among them. A stored one that has
 * counted the same message last, or a later one, stays as it is.
 */
export function upsertNewerWindows(
  tx: Transaction,
  partition: number,
  rows: readonly WindowRow[],
): Promise<void> {
  return upsert(tx, UPSERT + IF_NEWER, partition, rows);
}

/** Stores windows that were read and locked in this transaction. */
export function writeWindows(tx: Transaction, partition: number, rows: readonly WindowRow[]): Promise<void> {
  return upsert(tx, UPSERT, partition, rows);
}

async function upsert(
  tx: Transaction,
  statement: string,
  partition: number,
  rows: readonly WindowRow[],
): Promise<void> {
  let texts: string[] = [];
  let characters = 0;
  for (const [i, row] of rows.entries()) {
    const text = JSON.stringify(recordOf(row, partition));
    texts.push(text);
    characters += text.length;
    const isFull = texts.length === WINDOWS_PER_STATEMENT || characters >= CHARACTERS_PER_STATEMENT;
    if (!isFull && i < rows.length - 1) continue;
    await tx.query(statement, [`[${texts.join(',')}]`]);
    texts = [];
    characters = 0;
    await setImmediate();
  }
}

interface StoredRow {
  readonly n: number;
  readonly start: number;
  readonly end: number;
  readonly status: StoredWindow['status'];
  readonly revision: number;
  readonly total_calls: number;
  readonly total_tokens: number;
  readonly total_input_tokens: number;
  readonly total_output_tokens: number;
  readonly latency_count: number;
  readonly latency_sum_us: number;
  readonly late_events: number;
  readonly aggregation_data: AggregationData;
  readonly as_of_ms: number;
  readonly as_of_seq: number;
  readonly as_of_index: number;
}

/**
 * Reads windows and locks them until the transaction ends; null: there is none.
 * Index: aggregation_windows_tenant_id_customer_id_window_start_key.
 */
export async function lockWindows(
  tx: Transaction,
  windows: readonly { readonly customer: Customer; readonly start: number }[],
): Promise<readonly (StoredWindow | null)[]> {
  const found: (StoredWindow | null)[] = windows.map(() => null);
  for (let i = 0; i < windows.length; i += WINDOWS_PER_READ) {
    const asked = windows.slice(i, i + WINDOWS_PER_READ);
    const rows = await tx.query<StoredRow>(
      `SELECT asked.n::integer AS n, ${msOf('window_start')} AS start, ${msOf('window_end')} AS "end", status, revision,
         total_calls, total_tokens, total_input_tokens, total_output_tokens, latency_count, latency_sum_us, late_events,
         aggregation_data, ${msOf('as_of_at')} AS as_of_ms, as_of_seq, as_of_index
       FROM unnest($1::text[], $2::bigint[], $3::timestamptz[]) WITH ORDINALITY
         AS asked (tenant_id, customer_id, window_start, n)
       JOIN aggregation_windows AS stored USING (tenant_id, customer_id, window_start)
       FOR UPDATE OF stored`,
      [
        asked.map(({ customer }) => customer.tenant),
        asked.map(({ customer }) => customer.id),
        asked.map(({ start }) => new Date(start)),
      ],
    );
    for (const row of rows) found[i + row.n - 1] = windowOf(row, asked[row.n - 1]!.customer);
  }
  return found;
}

function msOf(column: string): string {
  return `(extract(epoch FROM ${column}) * 1000)::bigint`;
}

function windowOf(row: StoredRow, { tenant, externalId }: Customer): StoredWindow {
  const { start, end, status, revision, aggregation_data: data } = row;
  return {
    ...{ tenant, customer: externalId, start, end, status, revision },
    asOf: [`${row.as_of_ms}-${row.as_of_seq}`, row.as_of_index],
    calls: row.total_calls,
    tokens: row.total_tokens,
    inputTokens: row.total_input_tokens,
    outputTokens: row.total_output_tokens,
    latencyCount: row.latency_count,
    latencySumUs: row.latency_sum_us,
    late: row.late_events,
    endpoints: data.endpoints,
    models: data.models,
    latency: data.latency,
  };
}

function recordOf({ customer, window }: WindowRow, partition: number): object {
  const [entry, index] = window.asOf;
  const dash = entry.indexOf('-');
  return {
    tenant_id: customer.tenant,
    customer_id: customer.id,
    window_start: timeOf(window.start),
    window_end: timeOf(window.end),
    status: window.status,
    revision: window.revision,
    partition,
    total_calls: window.calls,
    total_tokens: window.tokens,
    total_input_tokens: window.inputTokens,
    total_output_tokens: window.outputTokens,
    latency_count: window.latencyCount,
    latency_sum_us: window.latencySumUs,
    late_events: window.late,
    aggregation_data: { endpoints: window.endpoints, models: window.models, latency: window.latency },
    as_of_at: timeOf(Number(entry.slice(0, dash))),
    as_of_seq: Number(entry.slice(dash + 1)),
    as_of_index: index,
  };
}

/** Postgres, not we, refuses what is no time. */
function timeOf(ms: number): string {
  const date = new Date(ms);
  return Number.isNaN(date.getTime()) ? String(ms) : date.toISOString();
}
