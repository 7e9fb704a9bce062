import { setImmediate } from 'node:timers/promises';
import { BinaryColumn, type ColumnType } from './binary-column.js';
import type { Transaction } from './transaction.js';

/** One statement; made into bytes in about half a millisecond, after which the event loop turns. */
const ROWS_PER_STATEMENT = 500;

/** Column, type, bytes of a value (about). */
export type ColumnSpec = readonly [name: string, type: ColumnType, bytes: number];

/** How rows go into a table, column by column. */
export interface ColumnsInsert<Row> {
  /** Its first parameters are the values that all rows have in common, then come the columns. */
  readonly statement: string;
  readonly columns: readonly ColumnSpec[];
  /** Adds one value to each column, in their order. */
  encode(row: Row, columns: readonly BinaryColumn[]): void;
}

/** `unnest($2::text[], …)`: the columns as a table, from the n-th parameter on. */
export function unnest(columns: readonly ColumnSpec[], first: number): string {
  return `unnest(${columns.map(([, type], i) => `$${i + first}::${type}[]`).join(', ')})`;
}

/**
 * While Postgres inserts some rows, the next ones are made into bytes. Two sets of columns take turns: the driver may
 * still need the one that it was given last.
 */
export async function insertColumns<Row>(
  tx: Transaction,
  insert: ColumnsInsert<Row>,
  rows: readonly Row[],
  common: readonly unknown[] = [],
): Promise<void> {
  const size = Math.min(rows.length, ROWS_PER_STATEMENT);
  const newColumns = () => insert.columns.map(([, type, bytes]) => new BinaryColumn(type, size, bytes));
  const sets = [newColumns(), newColumns()] as const;
  let inserting: Promise<unknown> = Promise.resolve();
  for (let i = 0, turn = 0; i < rows.length; i += ROWS_PER_STATEMENT, turn ^= 1) {
    const columns = sets[turn]!;
    for (const column of columns) column.clear();
    for (const row of rows.slice(i, i + ROWS_PER_STATEMENT)) insert.encode(row, columns);
    const values = [...common, ...columns.map((column) => column.finish())];
    await inserting;
    inserting = tx.query(insert.statement, values);
    // Should it fail before it is awaited.
    inserting.catch(() => undefined);
    await setImmediate();
  }
  await inserting;
}
