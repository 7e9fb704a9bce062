import type { BinaryColumn } from './binary-column.js';
import { type ColumnSpec, type ColumnsInsert, insertColumns, unnest } from './insert-columns.js';
import type { Transaction } from './transaction.js';
import type { UsageRow } from './usage-row.js';

const COLUMNS: readonly ColumnSpec[] = [
  ['accepted_at', 'timestamptz', 8],
  ['entry_seq', 'integer', 4],
  ['message_index', 'smallint', 2],
  ['tenant_id', 'text', 24],
  ['customer_id', 'bigint', 8],
  ['event_id', 'text', 40],
  ['event_at', 'timestamptz', 8],
  ['window_start', 'timestamptz', 8],
  ['status', 'text', 8],
  ['window_revision', 'integer', 4],
  ['endpoint', 'text', 32],
  ['model', 'text', 16],
  ['tokens', 'bigint', 8],
  ['input_tokens', 'bigint', 8],
  ['output_tokens', 'bigint', 8],
  ['latency_us', 'bigint', 8],
  ['metadata', 'jsonb', 32],
  ['source', 'text', 16],
];

/**
 * Without ON CONFLICT: it costs 1.3 µs a row (of 8), and a row that is there already is a rare thing that the caller
 * has to hear of.
 */
const INSERT: ColumnsInsert<UsageRow> = {
  statement: `INSERT INTO usage_events (partition, ${COLUMNS.map(([name]) => name).join(', ')})
  SELECT $1::smallint, * FROM ${unnest(COLUMNS, 2)}`,
  columns: COLUMNS,
  encode: encodeRow,
};

export function insertUsage(tx: Transaction, partition: number, rows: readonly UsageRow[]): Promise<void> {
  return insertColumns(tx, INSERT, rows, [partition]);
}

/**
 * The rows that are not stored. Primary key, by the range of times; the batch's entries and those of the other
 * partitions at that time.
 */
export async function rowsNotStored(
  tx: Transaction,
  partition: number,
  rows: readonly UsageRow[],
): Promise<readonly UsageRow[]> {
  let first = Number.POSITIVE_INFINITY;
  let last = 0;
  for (const { acceptedAt } of rows) {
    first = Math.min(first, acceptedAt);
    last = Math.max(last, acceptedAt);
  }
  const stored = await tx.query<{ at: number; seq: number; index: number }>(
    `SELECT (extract(epoch FROM accepted_at) * 1000)::bigint AS at, entry_seq AS seq, message_index AS index
     FROM usage_events WHERE accepted_at BETWEEN $1 AND $2 AND partition = $3`,
    [new Date(first), new Date(last), partition],
  );
  const places = new Set(stored.map(({ at, seq, index }) => `${at}-${seq}:${index}`));
  return rows.filter(
    ({ acceptedAt, entrySeq, event }) => !places.has(`${acceptedAt}-${entrySeq}:${event.index}`),
  );
}

/** In the order of COLUMNS. */
function encodeRow(row: UsageRow, columns: readonly BinaryColumn[]): void {
  const { event, customer, usage } = row;
  const [endpoint, tokens, inputTokens, outputTokens, model, latencyUs] = usage;
  columns[0]!.timestamptz(row.acceptedAt);
  columns[1]!.integer(row.entrySeq);
  columns[2]!.smallint(event.index);
  columns[3]!.text(customer.tenant);
  columns[4]!.bigint(customer.id);
  columns[5]!.text(event.message.id);
  columns[6]!.timestamptz(row.eventAt);
  columns[7]!.timestamptz(row.windowStart);
  columns[8]!.text(row.status);
  columns[9]!.integer(row.revision);
  columns[10]!.text(endpoint);
  if (model === null) columns[11]!.null();
  else columns[11]!.text(model);
  columns[12]!.bigint(tokens);
  columns[13]!.bigint(inputTokens);
  columns[14]!.bigint(outputTokens);
  if (latencyUs === null) columns[15]!.null();
  else columns[15]!.bigint(latencyUs);
  columns[16]!.jsonb(row.metadata);
  if (row.source === null) columns[17]!.null();
  else columns[17]!.text(row.source);
}
