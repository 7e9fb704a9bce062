import type { Redis } from 'ioredis';
import type pg from 'pg';
import type { Keys } from '../../../shared/keys.js';
import type { Logger } from '../../../shared/logging.js';
import {
  type BudgetDifference,
  writeBudgetReconciliation,
} from '../../../shared/reconciliation/budget-reconciliation.js';
import type { FleetTask } from '../../maintenance/fleet-schedule.js';
import { runMsOf } from '../reconcile-task.js';
import { HotBudgetReader } from './hot-budgets.js';
import { readBudgetState, writeBudgetState } from './recent-budget-state.js';
import { reconcileRecentBudgets } from './recent-budgets.js';
import { SinkProgress } from './sink-progress.js';

/** Differences logged in one run. */
const LOGGED_MAX = 100;
const STATEMENT_MS_MAX = 30_000;
/** Beside the delay of the sink. */
const PATIENCE_MS = 8000;
const ENTRIES_MAX = 2_000_000;

export interface BudgetTaskOptions {
  readonly redis: Redis;
  readonly keys: Keys;
  readonly pool: pg.Pool;
  readonly log: Logger;
  readonly partitions: number;
  readonly intervalMs: number;
  /** ARCHIVE_DELAY_MS. */
  readonly sinkDelayMs: number;
}

/** Compares what has changed of budgets, logs each difference, leaves the result in Redis. */
export function reconcileBudgetsTask(options: BudgetTaskOptions): FleetTask {
  const { redis, keys, pool, log, partitions, intervalMs, sinkDelayMs } = options;
  return {
    name: 'reconcile-budgets',
    intervalMs,
    async run(signal) {
      const { result, state } = await reconcileRecentBudgets(
        {
          ...{ pool, signal, statementMsMax: STATEMENT_MS_MAX, entriesMax: ENTRIES_MAX },
          hot: new HotBudgetReader(redis, keys, partitions),
          progress: new SinkProgress(redis, keys, sinkDelayMs + PATIENCE_MS, signal),
          runMsMax: runMsOf(intervalMs),
          onDifference: differenceLogger(log),
        },
        await readBudgetState(redis, keys),
      );
      signal.throwIfAborted();
      await writeBudgetReconciliation(redis, keys, result);
      await writeBudgetState(redis, keys, state);
      const { comparedWindows, behind, leftOut, lost, drifted } = result;
      return { comparedWindows, behind, leftOut, lost, drifted };
    },
  };
}

function differenceLogger(log: Logger): (difference: BudgetDifference) => void {
  let logged = 0;
  return (difference) => {
    logged += 1;
    if (logged <= LOGGED_MAX) log.error({ drift: difference }, 'budgets do not add up');
  };
}
