import type pg from 'pg';

/** The server ends a statement that takes longer, and a session that is silent for longer (a process that is frozen). */
const STATEMENT_MS_MAX = 30_000;
/** When the server itself says nothing for so much longer, the connection is given up. */
const PATIENCE = 1.5;

/** Statements of one transaction. None of them waits for ever. */
export class Transaction {
  constructor(
    private readonly client: pg.ClientBase,
    private readonly answerMsMax: number,
  ) {}

  async query<Row extends pg.QueryResultRow>(text: string, values: readonly unknown[] = []): Promise<Row[]> {
    // Without values it may be several statements.
    const config = {
      text,
      query_timeout: this.answerMsMax,
      ...(values.length > 0 && { values: [...values] }),
    };
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

/** Runs transactions of their own, each on a connection of the pool. */
export class Transactions {
  constructor(
    private readonly pool: pg.Pool,
    private readonly statementMsMax = STATEMENT_MS_MAX,
  ) {}

  /**
   * After any error the connection is closed, not used again: nothing is known of its state.
   * @throws what `work` throws, and when the commit fails: then it may or may not have happened
   */
  async run<T>(work: (tx: Transaction) => Promise<T>): Promise<T> {
    const client = await this.pool.connect();
    const tx = new Transaction(client, this.statementMsMax * PATIENCE);
    try {
      // The level is named because a database may have another default, and a sink must see what others committed.
      await tx.query(
        `BEGIN ISOLATION LEVEL READ COMMITTED;
         SET LOCAL statement_timeout = ${this.statementMsMax};
         SET LOCAL idle_in_transaction_session_timeout = ${this.statementMsMax}`,
      );
      const result = await work(tx);
      await tx.query('COMMIT');
      client.release();
      return result;
    } catch (error) {
      client.release(true);
      throw error;
    }
  }
}
