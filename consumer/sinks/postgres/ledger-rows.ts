import type { LedgerEntry } from '../../../shared/messages/budget-emissions.js';
import type { BinaryColumn } from './binary-column.js';
import { type ColumnSpec, type ColumnsInsert, insertColumns, unnest } from './insert-columns.js';
import { isTenant } from './tenants.js';
import type { Transaction } from './transaction.js';
import { isTime } from './usage-row.js';

/** In no name of a level. */
const SEPARATOR = '/';

/** Rows of budget_ledger, but for `path`, which travels as one text. */
const COLUMNS: readonly ColumnSpec[] = [
  ['at', 'timestamptz', 8],
  ['tenant_id', 'text', 16],
  ['epoch', 'bigint', 8],
  ['seq', 'bigint', 8],
  ['kind', 'text', 8],
  ['window_start', 'timestamptz', 8],
  ['path', 'text', 24],
  ['held', 'bigint', 8],
  ['settled', 'bigint', 8],
  ['tokens', 'bigint', 8],
  ['admission_id', 'text', 24],
  ['pipeline', 'text', 12],
  ['priority', 'text', 2],
];
const NAMES = COLUMNS.map(([name]) => name).join(', ');

/** The primary key is the number of the entry: what comes again is there already. */
const INSERT: ColumnsInsert<LedgerEntry> = {
  statement: `INSERT INTO budget_ledger (${NAMES})
  SELECT ${NAMES.replace('path', `string_to_array(path, '${SEPARATOR}')`)}
  FROM ${unnest(COLUMNS, 1)} AS given (${NAMES})
  ON CONFLICT DO NOTHING`,
  columns: COLUMNS,
  encode: encodeEntry,
};

export function insertLedger(tx: Transaction, entries: readonly LedgerEntry[]): Promise<void> {
  return insertColumns(tx, INSERT, entries);
}

/** What cannot even be said to Postgres; undefined: nothing. Only a broken or newer fold gets that far. */
export function ledgerDefect(entry: LedgerEntry | null): string | undefined {
  if (entry === null) return 'it is none';
  const { tenant, epoch, seq, at, window, path, held, settled, tokens = 0 } = entry;
  if (typeof tenant !== 'string' || !isTenant(tenant)) return 'the tenant is none';
  if (!isTime(at) || !isTime(window)) return 'a time is none';
  if (![epoch, seq, held, settled, tokens].every(Number.isSafeInteger)) return 'a number is no integer';
  if (!Array.isArray(path) || ![entry.kind, ...path].every(isString)) return 'a name is none';
  const { admission = '', pipeline = '', priority = '' } = entry;
  return [admission, pipeline, priority].every(isString) ? undefined : 'a name is none';
}

function isString(value: unknown): boolean {
  return typeof value === 'string';
}

/** In the order of COLUMNS. */
function encodeEntry(entry: LedgerEntry, columns: readonly BinaryColumn[]): void {
  const { tokens, admission, pipeline, priority } = entry;
  columns[0]!.timestamptz(entry.at);
  columns[1]!.text(entry.tenant);
  columns[2]!.bigint(entry.epoch);
  columns[3]!.bigint(entry.seq);
  columns[4]!.text(entry.kind);
  columns[5]!.timestamptz(entry.window);
  columns[6]!.text(entry.path.join(SEPARATOR));
  columns[7]!.bigint(entry.held);
  columns[8]!.bigint(entry.settled);
  if (tokens === undefined) columns[9]!.null();
  else columns[9]!.bigint(tokens);
  optionalText(columns[10]!, admission);
  optionalText(columns[11]!, pipeline);
  optionalText(columns[12]!, priority);
}

function optionalText(column: BinaryColumn, value: string | undefined): void {
  if (value === undefined) column.null();
  else column.text(value);
}
