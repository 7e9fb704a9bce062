import { randomUUID } from 'node:crypto';
import { Queue } from 'bullmq';
import { Redis } from 'ioredis';
import pg from 'pg';
import { Keys } from '../../shared/keys.js';
import { decodeWindow } from '../../shared/state/metering-codec.js';
import { backlog, PARTITIONS, watch } from './fill-streams.js';
import { cpuMs, type Started, startProcess } from './processes.js';
import { emptyRedis, type RedisServer } from './redis-server.js';
import type { UsageLoad, UsageLoadJob } from './usage-load.js';
import { whenReady } from './when-ready.js';

export const EVENTS_PER_BODY = 1000;
const CONNECTIONS = 8;
const DEADLINE_MS = 90_000;
/** Nothing is refused: the bounds are those of a real machine's memory, not of the run. */
const UNBOUNDED = { BACKLOG_MAX: '100000000', ARCHIVE_BACKLOG_BYTES_MAX: String(2 ** 40) };

export interface UsageRateOptions {
  /** A multiple of EVENTS_PER_BODY, as `warmUpEvents` is. */
  readonly events: number;
  /** Sent before, by the same processes, and not measured. */
  readonly warmUpEvents: number;
  readonly customers: number;
  /** Of an empty database, which the worker then archives into meanwhile. */
  readonly databaseUrl?: string;
}

export interface UsageRate {
  /** From the beginning of the first request to the commit of the last event. Wall clock: it is read in two processes. */
  readonly eventsPerSecond: number;
  /** CPU time per event, in µs; undefined where the system does not tell. */
  readonly cpu: Cpu<number> | undefined;
  /** Events that went into Postgres meanwhile; 0 without one. */
  readonly archivedPerSecond: number;
}

/** One of each process. */
export type Cpu<Value> = Readonly<Record<'api' | 'worker' | 'redis' | 'generator', Value>>;

/** What a run is sent to, and how it is seen to be done. */
interface Target {
  readonly api: Started;
  readonly worker: Started;
  /** Events that are accepted and not yet counted. */
  readonly waiting: () => Promise<number>;
  /** All events counted, when there are none waiting. */
  readonly counted: () => Promise<number>;
  /** Events that are in Postgres. */
  readonly archived: () => Promise<number>;
}

/** POST /usage/batch to committed windows: one API process, one worker. */
export async function weirUsageRate(server: RedisServer, options: UsageRateOptions): Promise<UsageRate> {
  const { databaseUrl } = options;
  const namespace = `bench-${randomUUID()}`;
  const keys = new Keys(namespace);
  const redis = new Redis(server.url);
  const environment = {
    ...{ REDIS_URL: server.url, WEIR_NAMESPACE: namespace, PARTITIONS: String(PARTITIONS) },
    ...{ PORT: '0', HOST: '127.0.0.1', OPS_PORT: '0', ...UNBOUNDED },
    ...(databaseUrl === undefined ? {} : { DATABASE_URL: databaseUrl }),
  };
  const started: Started[] = [];
  try {
    await emptyRedis(redis);
    const api = await startProcess('api/main.js', environment);
    started.push(api);
    const worker = await startProcess('consumer/main.js', environment);
    started.push(worker);
    await whenReady(api.url);
    const waiting = () => backlog(redis, keys, 'usage');
    const counted = () => countedCalls(redis, keys);
    const archived = async () => (databaseUrl === undefined ? 0 : rowsIn(databaseUrl));
    return await measure(server, { api, worker, waiting, counted, archived }, options);
  } finally {
    for (const each of started) await each.stop();
    await emptyRedis(redis);
    redis.disconnect();
  }
}

/** The same with Fastify, a BullMQ queue and one BullMQ worker. */
export async function bullmqUsageRate(server: RedisServer, options: UsageRateOptions): Promise<UsageRate> {
  const redis = new Redis(server.url);
  const name = `bench-${randomUUID()}`;
  const countedKey = 'peer:counted';
  const queue = new Queue(name, { connection: { host: '127.0.0.1', port: server.port } });
  const started: Started[] = [];
  try {
    await emptyRedis(redis);
    const port = String(server.port);
    const api = await startProcess('loadtest/bench/bullmq-usage-api.js', {}, [port, name]);
    started.push(api);
    const worker = await startProcess('loadtest/bench/bullmq-usage-worker.js', {}, [port, name, countedKey]);
    started.push(worker);
    const waiting = async () => {
      const { waiting = 0, active = 0, failed = 0 } = await queue.getJobCounts('waiting', 'active', 'failed');
      // A job that failed would be fast, and no job done.
      if (failed > 0) throw new Error(`${failed} BullMQ jobs failed`);
      return waiting + active;
    };
    const counted = async () => Number(await redis.get(countedKey));
    return await measure(server, { api, worker, waiting, counted, archived: async () => 0 }, options);
  } finally {
    for (const each of started) await each.stop();
    await queue.close();
    await emptyRedis(redis);
    redis.disconnect();
  }
}

async function measure(
  server: RedisServer,
  target: Target,
  { events, warmUpEvents, customers }: UsageRateOptions,
): Promise<UsageRate> {
  const { api, worker } = target;
  const generator = await startProcess('loadtest/bench/usage-load.js', {});
  try {
    const send = async (firstBody: number, count: number): Promise<number> => {
      const job: UsageLoadJob = {
        ...{ url: api.url, connections: CONNECTIONS, eventsPerBody: EVENTS_PER_BODY },
        ...{ bodies: count / EVENTS_PER_BODY, firstBody, customers },
      };
      const { begunAt } = (await generator.ask(job, DEADLINE_MS)) as UsageLoad;
      await watch(count, async () => count - (await target.waiting()), DEADLINE_MS);
      return (count / (Date.now() - begunAt)) * 1000;
    };
    await send(0, warmUpEvents);
    const pids = { api: api.pid, worker: worker.pid, redis: server.pid, generator: generator.pid };
    const archivedBefore = await target.archived();
    const before = cpuOf(pids);
    const eventsPerSecond = await send(warmUpEvents / EVENTS_PER_BODY, events);
    const after = cpuOf(pids);
    const archived = (await target.archived()) - archivedBefore;
    await assertCounted(target, warmUpEvents + events);
    const archivedPerSecond = (archived / events) * eventsPerSecond;
    return { eventsPerSecond, cpu: cpuPerEvent(before, after, events), archivedPerSecond };
  } finally {
    await generator.stop();
  }
}

/** What was not counted would flatter as well. */
async function assertCounted({ counted }: Target, expected: number): Promise<void> {
  const events = await counted();
  if (events !== expected) throw new Error(`${events} of ${expected} events are counted in windows`);
}

function cpuOf({ api, worker, redis, generator }: Cpu<number>): Cpu<number | undefined> {
  return { api: cpuMs(api), worker: cpuMs(worker), redis: cpuMs(redis), generator: cpuMs(generator) };
}

function cpuPerEvent(
  before: Cpu<number | undefined>,
  after: Cpu<number | undefined>,
  events: number,
): UsageRate['cpu'] {
  const each = (name: keyof Cpu<unknown>) => ((after[name]! - before[name]!) * 1000) / events;
  const cpu = {
    api: each('api'),
    worker: each('worker'),
    redis: each('redis'),
    generator: each('generator'),
  };
  return Object.values(cpu).some(Number.isNaN) ? undefined : cpu;
}

/** Calls in all windows there are: everything is so recent that none has left Redis. */
async function countedCalls(redis: Redis, keys: Keys): Promise<number> {
  const names = new Set<string>();
  for await (const found of redis.scanStream({ match: keys.windowDocuments, count: 1000 })) {
    for (const name of found as string[]) names.add(name);
  }
  const documents = names.size === 0 ? [] : await redis.mget([...names]);
  return documents.reduce((calls, text) => calls + (text === null ? 0 : decodeWindow(text).calls), 0);
}

async function rowsIn(databaseUrl: string): Promise<number> {
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    const { rows } = await client.query<{ count: string }>('SELECT count(*) FROM usage_events');
    return Number(rows[0]!.count);
  } finally {
    await client.end();
  }
}
