import type { Redis } from 'ioredis';
import type pg from 'pg';
import type { Registry } from 'prom-client';
import type { Config } from '../../shared/config.js';
import type { Keys } from '../../shared/keys.js';
import type { Lifecycle } from '../../shared/lifecycle.js';
import type { DistributedLock } from '../../shared/lock/distributed-lock.js';
import type { Logger } from '../../shared/logging.js';
import { ReconciliationMetrics } from '../../shared/reconciliation/reconciliation-metrics.js';
import { windowSettings } from '../../shared/window-settings.js';
import { reconcileBudgetsTask } from '../reconcile/budgets/budget-task.js';
import { countedAgainTask } from '../reconcile/counted-again-task.js';
import { reconcileTask } from '../reconcile/reconcile-task.js';
import { FleetSchedule } from './fleet-schedule.js';
import { healBudgets } from './heal-budgets.js';
import { partitionsAhead } from './partitions-ahead.js';
import { ledgerRetention, retention } from './retention.js';

export interface MaintenanceOptions {
  /** Its commands fail while Redis is away. */
  readonly redis: Redis;
  readonly keys: Keys;
  /** Of the role weir_sink; one connection is in use while a task runs. Nothing begins before the schema is ready. */
  readonly database: { readonly pool: pg.Pool; readonly ready: Promise<void> };
  readonly lock: DistributedLock;
  readonly log: Logger;
  readonly metrics: { readonly registry: Registry; countedAgain(events: number): void };
  readonly config: Config;
  readonly lifecycle: Lifecycle;
}

/** What must be done once in a fleet: partitions of days, retention, budgets that Redis lost, reconciliation. Until the worker ends. */
export function startMaintenance(options: MaintenanceOptions): void {
  const { redis, keys, database, lock, log, metrics, config, lifecycle } = options;
  const { pool, ready } = database;
  new ReconciliationMetrics(metrics.registry, redis, keys);
  const schedule = new FleetSchedule({ redis, keys, lock, log });
  lifecycle.onClose('maintenance', () => schedule.close());
  const tasks = [
    partitionsAhead(pool),
    retention(pool, config.EVENTS_RETENTION_DAYS),
    ledgerRetention(pool, config.LEDGER_RETENTION_DAYS),
    healBudgets({
      ...{ redis, keys, pool, log, partitions: config.PARTITIONS },
      registry: metrics.registry,
    }),
    reconcileTask({
      ...{ redis, keys, pool, log },
      times: windowSettings(config),
      intervalMs: config.RECONCILE_INTERVAL_SECONDS * 1000,
    }),
    countedAgainTask({
      ...{ redis, keys, pool, metrics, partitions: config.PARTITIONS },
      intervalMs: config.RECONCILE_INTERVAL_SECONDS * 1000,
      dedupeWindowMs: config.DEDUPE_WINDOW_SECONDS * 1000,
    }),
    reconcileBudgetsTask({
      ...{ redis, keys, pool, log, partitions: config.PARTITIONS, sinkDelayMs: config.ARCHIVE_DELAY_MS },
      intervalMs: config.RECONCILE_INTERVAL_SECONDS * 1000,
    }),
  ];
  for (const { name } of tasks) lock.expect(name);
  void ready.then(() => schedule.start(tasks));
}
