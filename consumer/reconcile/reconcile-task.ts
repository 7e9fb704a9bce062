import type { Redis } from 'ioredis';
import type pg from 'pg';
import type { Keys } from '../../shared/keys.js';
import type { Logger } from '../../shared/logging.js';
import { type Difference, writeReconciliation } from '../../shared/reconciliation/reconciliation.js';
import type { FleetTask } from '../maintenance/fleet-schedule.js';
import type { WindowTimes } from './compare-windows.js';
import { reconcileRecent } from './recent-run.js';
import { readState, writeState } from './recent-state.js';

/** Differences logged in one run. */
const LOGGED_MAX = 100;
/** A run takes at most this share of the interval, and so long in all. */
const RUN_SHARE = 0.8;
const RUN_MS_MAX = 60_000;
const RUN_MS_MIN = 5000;

export interface ReconcileTaskOptions {
  readonly redis: Redis;
  readonly keys: Keys;
  readonly pool: pg.Pool;
  readonly log: Logger;
  readonly times: WindowTimes;
  readonly intervalMs: number;
}

/** The reconciler of the fleet: compares what has changed, logs each difference, leaves the result in Redis. */
export function reconcileTask(options: ReconcileTaskOptions): FleetTask {
  const { redis, keys, pool, log, times, intervalMs } = options;
  const runMsMax = runMsOf(intervalMs);
  return {
    name: 'reconcile',
    intervalMs,
    async run(signal) {
      const before = await readState(redis, keys);
      const onDifference = differenceLogger(log);
      const common = { redis, keys, pool, times, runMsMax, onDifference, signal };
      const { result, state } = await reconcileRecent(common, before);
      signal.throwIfAborted();
      await writeReconciliation(redis, keys, result);
      await writeState(redis, keys, state);
      const { comparedWindows, pending, leftOut, lagSeconds, drifted } = result;
      return { comparedWindows, pending, leftOut, lagSeconds, drifted };
    },
  };
}

/** How long a run of a reconciler may take. */
export function runMsOf(intervalMs: number): number {
  return Math.min(RUN_MS_MAX, Math.max(RUN_MS_MIN, intervalMs * RUN_SHARE));
}

function differenceLogger(log: Logger): (difference: Difference) => void {
  let logged = 0;
  return (difference) => {
    logged += 1;
    if (logged <= LOGGED_MAX) log.error({ drift: difference }, 'usage does not add up');
  };
}
