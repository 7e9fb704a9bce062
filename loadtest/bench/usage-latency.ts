import { randomUUID } from 'node:crypto';
import { Redis } from 'ioredis';
import { PARTITIONS } from './fill-streams.js';
import type { PacedUsage, PacedUsageJob } from './paced-usage.js';
import type { PostgresServer } from './postgres-server.js';
import { type Started, startProcess } from './processes.js';
import { emptyRedis, type RedisServer } from './redis-server.js';
import { whenReady } from './when-ready.js';

export const EVENTS_PER_SECOND = 10_000;
export const EVENTS_PER_BODY = 100;
export const CUSTOMERS = 50;
export const WORKERS = 2;

/**
 * Time from a batch accepted to its events visible in GET /usage/current: one API process, two workers that archive
 * into Postgres meanwhile, paced load.
 */
export async function usageLatency(
  server: RedisServer,
  postgres: PostgresServer,
  seconds: number,
): Promise<PacedUsage> {
  const redis = new Redis(server.url);
  const databaseUrl = await postgres.createDatabase();
  const environment = {
    ...{ REDIS_URL: server.url, WEIR_NAMESPACE: `bench-${randomUUID()}`, PARTITIONS: String(PARTITIONS) },
    ...{ PORT: '0', HOST: '127.0.0.1', OPS_PORT: '0', DATABASE_URL: databaseUrl },
  };
  const started: Started[] = [];
  try {
    await emptyRedis(redis);
    const api = await startProcess('api/main.js', environment);
    started.push(api);
    for (let i = 0; i < WORKERS; i += 1) started.push(await startProcess('consumer/main.js', environment));
    const generator = await startProcess('loadtest/bench/paced-usage.js', {});
    started.push(generator);
    await whenReady(api.url);
    const job: PacedUsageJob = {
      ...{ url: api.url, redisUrl: server.url, seconds, customers: CUSTOMERS },
      ...{ eventsPerSecond: EVENTS_PER_SECOND, eventsPerBody: EVENTS_PER_BODY },
    };
    return (await generator.ask(job, (seconds + 30) * 1000)) as PacedUsage;
  } finally {
    for (const each of started.reverse()) await each.stop();
    await postgres.dropDatabase(databaseUrl);
    await emptyRedis(redis);
    redis.disconnect();
  }
}
