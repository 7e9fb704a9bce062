import { Redis } from 'ioredis';
import { PARTITIONS } from './fill-streams.js';
import type { PacedLoad, PacedLoadJob } from './paced-load.js';
import { startProcess } from './processes.js';
import type { RedisServer } from './redis-server.js';
import { whenReady } from './when-ready.js';

export const EVENTS_PER_SECOND = 1000;
export const WORKERS = 2;

/** Time from a POST answered to its decision visible over HTTP: one API process, two workers, paced load. */
export async function decisionLatency(server: RedisServer, seconds: number): Promise<PacedLoad> {
  const redis = new Redis(server.url);
  await redis.flushall();
  const environment = {
    ...{ REDIS_URL: server.url, WEIR_NAMESPACE: 'bench-latency', PARTITIONS: String(PARTITIONS) },
    // Half of the sampled users get restricted: the tripwire would rightly stop that. It is asked all the same.
    ...{ PORT: '0', HOST: '127.0.0.1', OPS_PORT: '0', TRIPWIRE_MIN_POPULATION: '1000000000' },
  };
  const api = await startProcess('api/main.js', environment);
  const workers = await Promise.all(
    Array.from({ length: WORKERS }, () => startProcess('consumer/main.js', environment)),
  );
  const generator = await startProcess('loadtest/bench/paced-load.js', {});
  try {
    await whenReady(api.url);
    const job: PacedLoadJob = { url: api.url, eventsPerSecond: EVENTS_PER_SECOND, seconds };
    return (await generator.ask(job, (seconds + 20) * 1000)) as PacedLoad;
  } finally {
    for (const started of [generator, api, ...workers]) await started.stop();
    await redis.flushall();
    redis.disconnect();
  }
}
