import { setImmediate } from 'node:timers/promises';
import type pg from 'pg';
import { ARCHIVE } from '../../shared/keys.js';
import type { Logger } from '../../shared/logging.js';
import type { StoredWindow } from '../../shared/messages/window-emission.js';
import { type Partition, partitionName } from '../../shared/topics.js';
import type { Archive, ArchiveBatch, JudgedEvent, RefusedEvent } from '../engine/archive.js';
import { FIRST_POSITION } from '../engine/head.js';
import {
  CorrectionRefused,
  OtherPostgres,
  type PreparedBatch,
  storeBatch,
  type Written,
} from './postgres/archive-transaction.js';
import type { Refusal } from './postgres/bisect.js';
import type { CorrectionSettings } from './postgres/cold-windows.js';
import { CustomerIds, Customers } from './postgres/customers.js';
import { DayPartitions } from './postgres/day-partitions.js';
import { isStale } from './postgres/sql-state.js';
import { Transactions } from './postgres/transaction.js';
import { isOnlyTrace, type UsageRow, UsageRowReader } from './postgres/usage-row.js';
import type { WindowRow } from './postgres/window-rows.js';

/** Customers whose ids a process remembers: some 20 MB. */
const CUSTOMERS_MAX = 200_000;
/** Made into rows in one turn of the event loop, which the fold shares: about half a millisecond. */
const EVENTS_PER_TURN = 500;

export interface ArchiveMetrics {
  /** A batch is committed: rows of usage_events, windows, and how long it took. */
  wrote(rows: number, windows: number, seconds: number): void;
  /** Windows that had left Redis and got another revision. */
  corrected(windows: number): void;
  /** Events that Postgres cannot have: they become dead letters. */
  refused(events: number): void;
  /** Dead events and duplicates of which Postgres cannot have even a trace. */
  skipped(events: number): void;
  /** Windows that Postgres cannot have: they are only in the log. */
  windowsRefused(windows: number): void;
  /** Postgres has what Redis has lost. */
  ahead(stream: string): void;
  /** Postgres has lost, or never had, what Redis believes to be there. */
  behind(stream: string): void;
}

export interface PostgresArchiveOptions {
  /** Of the role weir_sink. */
  readonly pool: pg.Pool;
  readonly settings: CorrectionSettings;
  readonly log: Logger;
  readonly metrics: ArchiveMetrics;
  readonly customersMax?: number;
  /** The longest that one statement may take. */
  readonly statementMsMax?: number;
}

/**
 * Keeps usage in Postgres: raw events, windows, and the corrections of windows that have left Redis. A batch is one
 * transaction; what makes it happen once is told at `storeBatch`.
 *
 * Before it, in transactions of their own: partitions for days, rows for tenants and customers that are new. Should
 * the batch fail they stay, and nobody minds.
 */
export class PostgresArchive implements Archive {
  readonly name = ARCHIVE;
  private readonly transactions: Transactions;
  private readonly ids: CustomerIds;
  private readonly days: DayPartitions;

  constructor(private readonly options: PostgresArchiveOptions) {
    const { pool, customersMax = CUSTOMERS_MAX, statementMsMax } = options;
    this.transactions = new Transactions(pool, statementMsMax);
    this.ids = new CustomerIds(this.transactions, customersMax);
    this.days = new DayPartitions(this.transactions, 'ensure_usage_partition');
  }

  async write(batch: ArchiveBatch): Promise<readonly RefusedEvent[]> {
    const begun = performance.now();
    const customers = new Customers();
    const { rows, refused, skipped } = await this.read(batch.events, customers);
    const { windows, unfit } = latest(batch, customers);
    const prepared = { batch, rows, windows };
    const written = await this.store(prepared, customers);
    const { metrics } = this.options;
    metrics.wrote(written.rows, windows.length, (performance.now() - begun) / 1000);
    const worthTelling = written.refused.filter(({ item }) => !isOnlyTrace(item.event));
    const told = [...refused, ...worthTelling.map(({ item, error }) => ({ event: item.event, error }))];
    const traces = skipped + written.refused.length - worthTelling.length;
    if (told.length > 0) metrics.refused(told.length);
    if (traces > 0) metrics.skipped(traces);
    for (const { item, error } of unfit) this.lost(item, error);
    this.report(written, batch);
    return told;
  }

  async remembers(partition: Partition): Promise<boolean> {
    const { rowCount } = await this.options.pool.query(
      'SELECT FROM sink_positions WHERE sink = $1 AND stream = $2 AND outbox_id <> $3',
      [ARCHIVE, partitionName(partition), FIRST_POSITION],
    );
    return rowCount === 1;
  }

  private async read(
    events: readonly JudgedEvent[],
    customers: Customers,
  ): Promise<{ rows: readonly UsageRow[]; refused: readonly RefusedEvent[]; skipped: number }> {
    const reader = new UsageRowReader(customers, this.options.settings.windowMs);
    const rows: UsageRow[] = [];
    const refused: RefusedEvent[] = [];
    for (const [i, event] of events.entries()) {
      if (i % EVENTS_PER_TURN === EVENTS_PER_TURN - 1) await setImmediate();
      const read = reader.read(event);
      if (read === undefined) continue;
      if ('error' in read) refused.push(read);
      else rows.push(read);
    }
    return { rows, refused, skipped: reader.skipped };
  }

  private async store(prepared: PreparedBatch, customers: Customers): Promise<Written> {
    const { settings } = this.options;
    const barred = new Map<UsageRow, string>();
    for (let isFresh = false; ; ) {
      try {
        await this.days.ensure(prepared.rows.map(({ acceptedAt }) => acceptedAt));
        await this.ids.resolve(customers.all());
        return await this.transactions.run((tx) => storeBatch(tx, prepared, { settings, barred, isFresh }));
      } catch (error) {
        // Every turn bars an event or is the one that forgets.
        if (error instanceof CorrectionRefused) {
          for (const { item, error: why } of error.refusals) barred.set(item, why);
        } else if (!isFresh && (error instanceof OtherPostgres || isStale(error))) {
          this.ids.forget();
          this.days.forget();
          isFresh = true;
        } else {
          throw error;
        }
      }
    }
  }

  private report(
    { corrected, refusedWindows, disagreement }: Written,
    { partition, from, to }: ArchiveBatch,
  ): void {
    const { log, metrics } = this.options;
    if (corrected > 0) metrics.corrected(corrected);
    for (const { item, error } of refusedWindows) this.lost(item.window, error);
    if (disagreement === undefined) return;
    const stream = partitionName(partition);
    metrics[disagreement](stream);
    log.error({ stream, from, to }, DISAGREEMENTS[disagreement]);
  }

  /** The next revision of the window may do better; nothing else waits for it. */
  private lost(window: StoredWindow, error: string): void {
    this.options.log.error({ window, error }, 'Postgres refuses a window');
    this.options.metrics.windowsRefused(1);
  }
}

/** A statement can touch a row only once: of the same window the last emission, which has all. */
function latest(
  { windows }: ArchiveBatch,
  customers: Customers,
): { windows: readonly WindowRow[]; unfit: readonly Refusal<StoredWindow>[] } {
  const rows = new Map<string, WindowRow>();
  const unfit: Refusal<StoredWindow>[] = [];
  for (const { emission: window } of windows) {
    const customer = customers.of(window.tenant, window.customer);
    if (customer === undefined) unfit.push({ item: window, error: 'the tenant or the customer is none' });
    else rows.set(`${window.tenant}:${window.start}:${window.customer}`, { customer, window });
  }
  return { windows: [...rows.values()], unfit };
}

const DISAGREEMENTS = {
  ahead:
    'Postgres has usage that Redis has lost: sums of windows that were open then may differ from raw events',
  behind: 'Postgres lacks usage that it had confirmed: it was restored from a backup, or is another one',
};
