import type { Transactions } from './transaction.js';

const DAY_MS = 86_400_000;
/** More than anybody keeps: then all are asked for again. */
const KNOWN_MAX = 10_000;

/** The partitions of a table that has one a day (UTC): made before the first row. */
export class DayPartitions {
  private readonly known = new Set<number>();

  /** @param ensureOne the function of Postgres that makes the partition of a day */
  constructor(
    private readonly transactions: Transactions,
    private readonly ensureOne: 'ensure_usage_partition' | 'ensure_ledger_partition',
  ) {}

  /** @param times ms since the epoch */
  async ensure(times: Iterable<number>): Promise<void> {
    const days = new Set<number>();
    for (const ms of times) {
      const day = Math.floor(ms / DAY_MS);
      if (!this.known.has(day)) days.add(day);
    }
    for (const day of days) {
      const date = new Date(day * DAY_MS).toISOString().slice(0, 10);
      await this.transactions.run((tx) => tx.query(`SELECT ${this.ensureOne}($1::date)`, [date]));
      if (this.known.size >= KNOWN_MAX) this.known.clear();
      this.known.add(day);
    }
  }

  /** One may have been dropped by the retention. */
  forget(): void {
    this.known.clear();
  }
}
