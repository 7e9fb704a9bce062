import { isRefusal, isUniqueViolation } from './sql-state.js';
import type { Transaction } from './transaction.js';

export interface Refusal<T> {
  readonly item: T;
  readonly error: string;
}

/**
 * Inserts items that Postgres may refuse: all at once, and when it refuses, both halves, down to the ones that it
 * does refuse. Each of them costs about 2 log2(n) statements.
 * @param insert one statement
 * @param withoutStored called where rows are there already; returns those that are not
 * @throws what no item is the reason of
 */
export async function insertBisecting<T>(
  tx: Transaction,
  items: readonly T[],
  insert: (items: readonly T[]) => Promise<void>,
  withoutStored?: (items: readonly T[]) => Promise<readonly T[]>,
): Promise<readonly Refusal<T>[]> {
  if (items.length === 0) return [];
  try {
    await tx.savepoint(() => insert(items));
    return [];
  } catch (error) {
    if (isUniqueViolation(error) && withoutStored !== undefined) {
      const left = await withoutStored(items);
      if (left.length === items.length) throw error;
      return insertBisecting(tx, left, insert, withoutStored);
    }
    if (!isRefusal(error)) throw error;
    if (items.length === 1) return [{ item: items[0]!, error: (error as Error).message }];
  }
  const middle = items.length >> 1;
  return [
    ...(await insertBisecting(tx, items.slice(0, middle), insert, withoutStored)),
    ...(await insertBisecting(tx, items.slice(middle), insert, withoutStored)),
  ];
}
