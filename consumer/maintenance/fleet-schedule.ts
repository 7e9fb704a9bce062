import { setTimeout as sleep } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import type { Keys } from '../../shared/keys.js';
import type { DistributedLock } from '../../shared/lock/distributed-lock.js';
import { LockTimeout } from '../../shared/lock/lock-errors.js';
import type { Logger } from '../../shared/logging.js';
import { isPostgresTransient } from '../../shared/postgres/errors.js';
import { isTransient } from '../../shared/redis/errors.js';

/** Something that one process of the fleet does now and then. */
export interface FleetTask {
  /** Of its lock, and of its field in the hash of last runs: `[a-z0-9-]`. */
  readonly name: string;
  readonly intervalMs: number;
  /**
   * Safe to be done again. Stops soon after `signal` is aborted: the lock is lost or the process ends.
   * @returns what to log; undefined: nothing
   */
  run(signal: AbortSignal): Promise<Readonly<Record<string, unknown>> | undefined>;
}

/** What every run says, or has a line of its own: no reason for one a minute. */
const ROUTINE = ['restored', 'daysAhead', 'comparedWindows', 'pending', 'behind', 'leftOut', 'lagSeconds'];

function isNews(figures: Readonly<Record<string, unknown>>): boolean {
  return Object.entries(figures).some(([name, figure]) => figure !== 0 && !ROUTINE.includes(name));
}

export interface FleetScheduleOptions {
  readonly redis: Redis;
  readonly keys: Keys;
  readonly lock: DistributedLock;
  readonly log: Logger;
}

const LOCK_TTL_MS = 15_000;
/** After Redis could not be asked, or somebody else is at it. */
const RETRY_MS = 5000;
/** After a task failed, if its interval is not shorter. */
const FAILED_RETRY_MS = 60_000;
/** A task that does not heed its signal so long is left alone: a worker that stops has partitions to hand over. */
const CLOSE_MS = 1000;
/** Workers do not ask all at the same moment: up to this share of the interval later, and no later than this. */
const JITTER_SHARE = 0.1;
const JITTER_MS_MAX = 10_000;

/**
 * Does each task about once in its interval, in one process of the fleet at a time. Every worker has one of these:
 *
 *   sleep until the task is due in the fleet ─► take its lock ─► still due? ─► note the time ─► run ─► give it back
 *                    ▲                              │ held: somebody does it                             │
 *                    └──────────────────────────────┴────────────────────────────────────────────────────┘
 *
 * The time is noted before the task runs, by the clock of Redis: one that kills its worker is tried again an interval
 * later, not at once by the next worker; one that fails, a minute later. Failures are logged; nothing here ends the
 * process.
 */
export class FleetSchedule {
  private readonly stop = new AbortController();
  private readonly loops: Promise<void>[] = [];

  constructor(private readonly options: FleetScheduleOptions) {}

  start(tasks: readonly FleetTask[]): void {
    for (const task of tasks) this.loops.push(this.loop(task));
  }

  /** Resolves when no task runs here any more and their locks are free, after a second at the latest. */
  async close(): Promise<void> {
    this.stop.abort(new Error('the worker stops'));
    await Promise.race([Promise.all(this.loops), sleep(CLOSE_MS, undefined, { ref: false })]);
  }

  private async loop(task: FleetTask): Promise<void> {
    const { signal } = this.stop;
    while (!signal.aborted) {
      const dueInMs = await this.turn(task);
      const jitterMs = Math.random() * Math.min(task.intervalMs * JITTER_SHARE, JITTER_MS_MAX);
      await sleep(dueInMs + jitterMs, undefined, { signal }).catch(() => undefined);
    }
  }

  /** @returns in how many ms to look again */
  private async turn(task: FleetTask): Promise<number> {
    const { lock, log } = this.options;
    const { signal } = this.stop;
    try {
      const dueInMs = await this.dueInMs(task);
      if (dueInMs > 0) return dueInMs;
      const options = { ttlMs: LOCK_TTL_MS, waitMs: 0, retryMs: RETRY_MS, signal };
      await lock.run(task.name, options, async (lost) => {
        // Somebody may have done it between the question and the lock.
        if ((await this.dueInMs(task)) <= 0) await this.runTask(task, AbortSignal.any([lost, signal]));
      });
      return Math.max(0, await this.dueInMs(task));
    } catch (error) {
      if (signal.aborted) return 0;
      if (!(error instanceof LockTimeout) && !isTransient(error)) {
        log.error({ err: error, task: task.name }, 'maintenance failed');
      }
      return Math.min(task.intervalMs, RETRY_MS);
    }
  }

  private async runTask(task: FleetTask, signal: AbortSignal): Promise<void> {
    const { log } = this.options;
    await this.noteRun(task, 0);
    const begunAt = performance.now();
    try {
      const figures = await task.run(signal);
      if (figures === undefined) return;
      const ms = Math.round(performance.now() - begunAt);
      log[isNews(figures) ? 'info' : 'debug']({ task: task.name, ...figures, ms }, 'maintenance');
    } catch (error) {
      if (this.stop.signal.aborted) return;
      const passes = isTransient(error) || isPostgresTransient(error) || signal.aborted;
      const level = passes ? 'warn' : 'error';
      log[level]({ err: error, task: task.name }, 'maintenance failed; it will be tried again');
      await this.noteRun(task, Math.max(0, task.intervalMs - FAILED_RETRY_MS));
    }
  }

  /** @param agoMs how long ago it shall count as done */
  private async noteRun(task: FleetTask, agoMs: number): Promise<void> {
    const { redis, keys } = this.options;
    await redis.hset(keys.maintenance, task.name, (await this.redisTimeMs()) - agoMs);
  }

  /** In how many ms the fleet should do the task; 0 or less: now. */
  private async dueInMs(task: FleetTask): Promise<number> {
    const { redis, keys } = this.options;
    const last = await redis.hget(keys.maintenance, task.name);
    if (last === null) return 0;
    // A time in the future was noted by a clock that has been set back since.
    return Math.min(Number(last) + task.intervalMs - (await this.redisTimeMs()), task.intervalMs);
  }

  private async redisTimeMs(): Promise<number> {
    const [seconds, micros] = await this.options.redis.time();
    return Number(seconds) * 1000 + Math.floor(Number(micros) / 1000);
  }
}
