import type { Redis } from 'ioredis';
import { Gauge, type Registry } from 'prom-client';
import type { Keys } from '../keys.js';
import { readBudgetReconciliation } from './budget-reconciliation.js';
import { readReconciliation } from './reconciliation.js';

/**
 * The results of the fleet's last reconciliations, in every process' metrics: read from Redis when somebody looks, so
 * that no process goes on showing what it found when it last had its turn. While Redis is away the values stay.
 */
export class ReconciliationMetrics {
  private readonly drift: Gauge;
  private readonly windows: Gauge;
  private readonly lastRun: Gauge;
  private readonly lag: Gauge;
  private readonly leftOut: Gauge;
  private readonly budgetDrift: Gauge;
  private readonly budgetWindows: Gauge;
  private readonly budgetBehind: Gauge;
  private readonly budgetLeftOut: Gauge;
  private readonly budgetLastRun: Gauge;
  private reading: Promise<void> | undefined;

  constructor(
    registry: Registry,
    private readonly redis: Redis,
    private readonly keys: Keys,
  ) {
    const gauge = (name: string, help: string) =>
      new Gauge({ name, help, registers: [registry], collect: () => this.refresh() });
    this.drift = gauge('weir_reconciliation_drift', 'Windows whose sums disagree: 0, or something is wrong.');
    this.windows = gauge('weir_reconciliation_windows', 'Windows compared by the last reconciliation.');
    this.lastRun = gauge(
      'weir_reconciliation_last_run_timestamp_seconds',
      'When the last reconciliation began; 0: never.',
    );
    this.lag = gauge(
      'weir_reconciliation_lag_seconds',
      'How far the last reconciliation is behind the archive: nothing is said of what came after.',
    );
    this.leftOut = gauge(
      'weir_reconciliation_left_out',
      'Windows that the last reconciliation had no time for, at least.',
    );
    this.budgetDrift = gauge(
      'weir_budget_drift',
      'Budget windows that disagree with their ledger: 0, or something is wrong.',
    );
    this.budgetWindows = gauge(
      'weir_budget_reconciliation_windows',
      'Budget windows compared with the ledger by the last run.',
    );
    this.budgetBehind = gauge(
      'weir_budget_reconciliation_behind',
      'Budget windows that the last run could not compare yet: the sink of the ledger is behind.',
    );
    this.budgetLeftOut = gauge(
      'weir_budget_reconciliation_left_out',
      'Budget windows that the last run had no time for, at least.',
    );
    this.budgetLastRun = gauge(
      'weir_budget_reconciliation_last_run_timestamp_seconds',
      'When budgets were last compared with their ledger; 0: never.',
    );
    for (const each of this.all()) each.set(0);
  }

  private all(): Gauge[] {
    const usage = [this.drift, this.windows, this.lastRun, this.lag, this.leftOut];
    const { budgetDrift, budgetWindows, budgetBehind, budgetLeftOut, budgetLastRun } = this;
    return [...usage, budgetDrift, budgetWindows, budgetBehind, budgetLeftOut, budgetLastRun];
  }

  /** All gauges are collected at once: one read serves them. */
  private refresh(): Promise<void> {
    this.reading ??= this.read().finally(() => {
      this.reading = undefined;
    });
    return this.reading;
  }

  private async read(): Promise<void> {
    await Promise.all([this.readUsage(), this.readBudgets()]);
  }

  private async readUsage(): Promise<void> {
    const last = await readReconciliation(this.redis, this.keys).catch(() => undefined);
    if (last === undefined) return;
    this.drift.set(last.drifted);
    this.windows.set(last.comparedWindows);
    this.lag.set(last.lagSeconds);
    this.leftOut.set(last.leftOut);
    this.lastRun.set(Date.parse(last.at) / 1000);
  }

  private async readBudgets(): Promise<void> {
    const last = await readBudgetReconciliation(this.redis, this.keys).catch(() => undefined);
    if (last === undefined) return;
    this.budgetDrift.set(last.drifted);
    this.budgetWindows.set(last.comparedWindows);
    this.budgetBehind.set(last.behind);
    this.budgetLeftOut.set(last.leftOut);
    this.budgetLastRun.set(Date.parse(last.at) / 1000);
  }
}
