import { setImmediate } from 'node:timers/promises';
import type pg from 'pg';
import type { Logger } from '../../shared/logging.js';
import {
  BUDGETS_APPLIED,
  type BudgetSnapshot,
  type BudgetsApplied,
  isBudgetEmission,
  LEDGER,
  type LedgerEntry,
} from '../../shared/messages/budget-emissions.js';
import type { OutboxEntry, Sink } from '../engine/outbox-drain.js';
import { insertBisecting, type Refusal } from './postgres/bisect.js';
import { insertVersions, upsertBudgetWindows, type VersionRow, versionRow } from './postgres/budget-rows.js';
import { DayPartitions } from './postgres/day-partitions.js';
import { insertLedger, ledgerDefect } from './postgres/ledger-rows.js';
import { isStale } from './postgres/sql-state.js';
import { isTenant, Tenants } from './postgres/tenants.js';
import { type Transaction, Transactions } from './postgres/transaction.js';

/** Outbox entries may hold many lines of the ledger each: so many are one transaction. */
const LEDGER_PER_TRANSACTION = 5000;
/** Refusals written to the log of one write; more are counted. */
const REFUSALS_LOGGED_MAX = 20;

/** What some outbox entries say. */
interface Said {
  readonly ledger: LedgerEntry[];
  /** By window: the last revision. A statement can touch a row only once. */
  readonly snapshots: Map<string, BudgetSnapshot>;
  readonly versions: VersionRow[];
  /** What is not even tried. */
  readonly unreadable: Refusal<unknown>[];
}

/**
 * Keeps the ledger of budgets in Postgres, the windows as they ended, and every version of the budgets.
 *
 * Entries come at least once. A line of the ledger and a version are known by their keys, a window by its revision:
 * what comes again changes nothing. So a write is several transactions, each of bounded length; the ledger is written
 * before the window that sums it up. Before them, in transactions of their own: partitions for days, new tenants.
 */
export class BudgetHistory implements Sink {
  readonly name = 'budgets';
  readonly topic = 'admissions';
  /** Postgres must never know of an entry that Redis may forget. */
  readonly delayed = true;

  private readonly transactions: Transactions;
  private readonly days: DayPartitions;
  private readonly tenants: Tenants;

  /** @param pool of the role weir_sink */
  constructor(
    pool: pg.Pool,
    private readonly log: Logger,
  ) {
    this.transactions = new Transactions(pool);
    this.days = new DayPartitions(this.transactions, 'ensure_ledger_partition');
    this.tenants = new Tenants(this.transactions);
  }

  knows({ type, body }: OutboxEntry): boolean {
    return isBudgetEmission(type, body);
  }

  async write(partition: string, entries: readonly OutboxEntry[]): Promise<void> {
    const said = read(entries);
    this.report(partition, [...said.unreadable, ...(await this.storeOrAgain(said))]);
  }

  private async storeOrAgain(said: Said): Promise<readonly Refusal<unknown>[]> {
    try {
      return await this.store(said);
    } catch (error) {
      if (!isStale(error)) throw error;
      // A day was dropped or a tenant deleted: what is remembered of Postgres is not true any more.
      this.days.forget();
      this.tenants.forget();
      return this.store(said);
    }
  }

  private async store({ ledger, snapshots, versions }: Said): Promise<readonly Refusal<unknown>[]> {
    const windows = [...snapshots.values()];
    await this.tenants.ensure([...ledger, ...windows, ...versions].map(({ tenant }) => tenant));
    await this.days.ensure(ledger.map(({ at }) => at));
    const refused: Refusal<unknown>[] = [];
    for (let i = 0; i < ledger.length; i += LEDGER_PER_TRANSACTION) {
      const some = ledger.slice(i, i + LEDGER_PER_TRANSACTION);
      refused.push(...(await this.insert(some, insertLedger)));
      await setImmediate();
    }
    refused.push(...(await this.insert(windows, upsertBudgetWindows)));
    refused.push(...(await this.insert(versions, insertVersions)));
    return refused;
  }

  private async insert<T>(
    items: readonly T[],
    statement: (tx: Transaction, items: readonly T[]) => Promise<void>,
  ): Promise<readonly Refusal<T>[]> {
    if (items.length === 0) return [];
    return this.transactions.run((tx) => insertBisecting(tx, items, (some) => statement(tx, some)));
  }

  /** Once and only here, but nothing behind them waits for ever. */
  private report(partition: string, refused: readonly Refusal<unknown>[]): void {
    for (const { item, error } of refused.slice(0, REFUSALS_LOGGED_MAX)) {
      this.log.error({ partition, entry: item, error }, 'Postgres refuses an entry about budgets');
    }
    if (refused.length > REFUSALS_LOGGED_MAX) {
      this.log.error({ partition, refused: refused.length }, 'Postgres refuses many entries about budgets');
    }
  }
}

function read(entries: readonly OutboxEntry[]): Said {
  const said: Said = { ledger: [], snapshots: new Map(), versions: [], unreadable: [] };
  for (const entry of entries) {
    try {
      readOne(entry, said);
    } catch (error) {
      said.unreadable.push({ item: entry, error: (error as Error).message });
    }
  }
  return said;
}

/** @throws when the entry is none */
function readOne({ type, body }: OutboxEntry, said: Said): void {
  if (type === LEDGER) {
    for (const entry of body as readonly LedgerEntry[]) {
      const error = ledgerDefect(entry);
      if (error === undefined) said.ledger.push(entry);
      else said.unreadable.push({ item: entry, error });
    }
    return;
  }
  const { tenant } = body as BudgetSnapshot | BudgetsApplied;
  if (typeof tenant !== 'string' || !isTenant(tenant)) throw new Error('the tenant is none');
  if (type === BUDGETS_APPLIED) {
    said.versions.push(versionRow(body as BudgetsApplied));
  } else {
    const snapshot = body as BudgetSnapshot;
    if (!Array.isArray(snapshot.levels)) throw new Error('it has no levels');
    const key = `${tenant}:${snapshot.epoch}:${snapshot.start}`;
    if ((said.snapshots.get(key)?.revision ?? 0) < snapshot.revision) said.snapshots.set(key, snapshot);
  }
}
