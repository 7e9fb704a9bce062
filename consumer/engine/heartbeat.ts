import type { Redis } from 'ioredis';
import { Script } from '../../shared/redis/script.js';

const script = new Script(import.meta.url, 'heartbeat.lua');

export interface LiveWorkers {
  readonly redisTimeMs: number;
  /** Worker id → Redis time of its last heartbeat in ms. */
  readonly workers: ReadonlyMap<string, number>;
}

export async function heartbeat(
  redis: Redis,
  key: string,
  worker: string,
  forgetAfterMs: number,
): Promise<LiveWorkers> {
  const [now, ...flat] = (await script.run(redis, [key], [worker, forgetAfterMs])) as [number, ...string[]];
  const workers = new Map<string, number>();
  for (let i = 0; i < flat.length; i += 2) workers.set(flat[i]!, Number(flat[i + 1]));
  return { redisTimeMs: now, workers };
}
