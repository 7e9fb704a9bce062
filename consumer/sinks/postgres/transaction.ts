import type pg from 'pg';

/** The server ends what runs longer, or waits longer for the next statement (a sink whose process is frozen). */
const STATEMENT_MS_MAX = 30_000;
/** And when the server itself says nothing, the connection is given up. */
const ANSWER_MS_MAX = 40_000;

// The level is named because a database may have another default, and a sink must see what others committed.
const BEGIN =
  'BEGIN ISOLATION LEVEL READ COMMITTED;' +
  `SET LOCAL statement_timeout = ${STATEMENT_MS_MAX};` +
  `SET LOCAL idle_in_transaction_session_timeout = ${STATEMENT_MS_MAX}`;

/** Statements of one transaction. None of them waits for ever. */
export class Transaction {
  constructor(private readonly client: pg.ClientBase) {}

  async query<Row extends pg.QueryResultRow>(text: string, values: readonly unknown[] = []): Promise<Row[]> {
    // Without values it may be several statements.
    const config = { text, query_timeout: ANSWER_MS_MAX, ...(values.length > 0 && { values: [...values] }) };
    return (await this.client.query<Row>(config)).rows;
  }

  /** If the work fails, what it did is undone and the transaction can go on. @throws what it throws */
  async savepoint(work: () => Promise<void>): Promise<void> {
    await this.query('SAVEPOINT work');
    try {
      await work();
    } catch (error) {
      await this.query('ROLLBACK TO SAVEPOINT work; RELEASE SAVEPOINT work');
      throw error;
    }
    await this.query('RELEASE SAVEPOINT work');
  }
}

/**
 * Runs `work` in a transaction of its own. After any error the connection is closed, not used again: nothing is
 * known of its state. @throws what `work` throws, and when the commit fails: then it may or may not have happened
 */
export async function inTransaction<T>(pool: pg.Pool, work: (tx: Transaction) => Promise<T>): Promise<T> {
  const client = await pool.connect();
  const tx = new Transaction(client);
  try {
    await tx.query(BEGIN);
    const result = await work(tx);
    await tx.query('COMMIT');
    client.release();
    return result;
  } catch (error) {
    client.release(true);
    throw error;
  }
}
