import type { Redis } from 'ioredis';
import { Gauge, type Registry } from 'prom-client';
import type { Keys } from '../keys.js';
import { readReconciliation } from './reconciliation.js';

/**
 * The result of the fleet's last reconciliation, in every process' metrics: read from Redis when somebody looks, so
 * that no process goes on showing what it found when it last had its turn. While Redis is away the values stay.
 */
export class ReconciliationMetrics {
  private readonly drift: Gauge;
  private readonly windows: Gauge;
  private readonly lastRun: Gauge;
  private readonly lag: Gauge;
  private readonly leftOut: Gauge;
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
    for (const each of [this.drift, this.windows, this.lastRun, this.lag, this.leftOut]) each.set(0);
  }

  /** All gauges are collected at once: one read serves them. */
  private refresh(): Promise<void> {
    this.reading ??= this.read().finally(() => {
      this.reading = undefined;
    });
    return this.reading;
  }

  private async read(): Promise<void> {
    const last = await readReconciliation(this.redis, this.keys).catch(() => undefined);
    if (last === undefined) return;
    this.drift.set(last.drifted);
    this.windows.set(last.comparedWindows);
    this.lag.set(last.lagSeconds);
    this.leftOut.set(last.leftOut);
    this.lastRun.set(Date.parse(last.at) / 1000);
  }
}
