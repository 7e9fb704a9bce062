import type { Redis } from 'ioredis';
import type pg from 'pg';
import { z } from 'zod';
import { ARCHIVE, type Keys } from '../../shared/keys.js';
import type { FleetTask } from '../maintenance/fleet-schedule.js';
import { type Archived, countRecentAgain, type LookedAt } from './counted-again.js';
import { runMsOf } from './reconcile-task.js';

const STATEMENT_MS_MAX = 30_000;
/** What the clocks of the nodes of a Redis Cluster may differ by. */
const CLOCK_MS_MAX = 60_000;
const STATE = 'counted-again';
const stateSchema = z.array(z.tuple([z.number(), z.string().regex(/^\d+-\d+$/)]));

export interface CountedAgainOptions {
  readonly redis: Redis;
  readonly keys: Keys;
  readonly pool: pg.Pool;
  readonly intervalMs: number;
  readonly dedupeWindowMs: number;
  readonly partitions: number;
  readonly metrics: { countedAgain(events: number): void };
}

/** Notices ids that count again because they came back after they were forgotten. */
export function countedAgainTask(options: CountedAgainOptions): FleetTask {
  const { redis, keys, pool, intervalMs, dedupeWindowMs, partitions, metrics } = options;
  return {
    name: 'counted-again',
    intervalMs,
    async run(signal) {
      const runMsMax = runMsOf(intervalMs) / 2;
      const { again, lookedAt } = await countRecentAgain(
        { pool, signal, dedupeWindowMs, runMsMax, statementMsMax: STATEMENT_MS_MAX },
        await readLookedAt(redis, keys),
        await readArchived(redis, keys, partitions),
      );
      signal.throwIfAborted();
      await redis.hset(keys.reconciliation, STATE, JSON.stringify([...lookedAt]));
      metrics.countedAgain(again);
      return again > 0 ? { again } : undefined;
    },
  };
}

/** Of the partitions that the archive has all of. The time is read first: what is appended after it is younger. */
async function readArchived(redis: Redis, keys: Keys, partitions: number): Promise<Archived> {
  const [seconds] = await redis.time();
  const upTo = `${Number(seconds) * 1000 - CLOCK_MS_MAX}-0`;
  const archived = new Map<number, string>();
  for (let index = 0; index < partitions; index += 1) {
    const { bytes, sinks } = keys.partition({ topic: 'usage', index });
    const appended = await redis.get(bytes);
    const written = await redis.hget(sinks, `${ARCHIVE}.bytes`);
    if (Number(appended ?? 0) === Number(written ?? 0)) archived.set(index, upTo);
  }
  return archived;
}

async function readLookedAt(redis: Redis, keys: Keys): Promise<LookedAt> {
  const text = await redis.hget(keys.reconciliation, STATE);
  return new Map(text === null ? [] : stateSchema.safeParse(JSON.parse(text)).data);
}
