import type { Redis } from 'ioredis';
import type pg from 'pg';
import { z } from 'zod';
import type { Keys } from '../../shared/keys.js';
import type { FleetTask } from '../maintenance/fleet-schedule.js';
import { countRecentAgain, type LookedAt } from './counted-again.js';
import { runMsOf } from './reconcile-task.js';

const STATEMENT_MS_MAX = 30_000;
const STATE = 'counted-again';
const stateSchema = z.array(z.tuple([z.number(), z.string().regex(/^\d+-\d+$/)]));

export interface CountedAgainOptions {
  readonly redis: Redis;
  readonly keys: Keys;
  readonly pool: pg.Pool;
  readonly intervalMs: number;
  readonly dedupeWindowMs: number;
  readonly metrics: { countedAgain(events: number): void };
}

/** Notices ids that count again because they came back after they were forgotten. */
export function countedAgainTask(options: CountedAgainOptions): FleetTask {
  const { redis, keys, pool, intervalMs, dedupeWindowMs, metrics } = options;
  return {
    name: 'counted-again',
    intervalMs,
    async run(signal) {
      const runMsMax = runMsOf(intervalMs) / 2;
      const { again, lookedAt } = await countRecentAgain(
        { pool, signal, dedupeWindowMs, runMsMax, statementMsMax: STATEMENT_MS_MAX },
        await readLookedAt(redis, keys),
      );
      signal.throwIfAborted();
      await redis.hset(keys.reconciliation, STATE, JSON.stringify([...lookedAt]));
      metrics.countedAgain(again);
      return again > 0 ? { again } : undefined;
    },
  };
}

async function readLookedAt(redis: Redis, keys: Keys): Promise<LookedAt> {
  const text = await redis.hget(keys.reconciliation, STATE);
  return new Map(text === null ? [] : stateSchema.safeParse(JSON.parse(text)).data);
}
