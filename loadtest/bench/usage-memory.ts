import { randomUUID } from 'node:crypto';
import { Redis } from 'ioredis';
import { Keys } from '../../shared/keys.js';
import { USAGE } from '../../shared/messages/usage.js';
import { backlog, type Events, fillStreams, PARTITIONS, watch } from './fill-streams.js';
import { MemoryUsage } from './memory-usage.js';
import { startProcess } from './processes.js';
import { emptyRedis, type RedisServer } from './redis-server.js';
import { usageData, usageSample } from './usage-events.js';

const DEADLINE_MS = 60_000;
const TENANTS = 5;
/** As the API makes them for the messages of single events: 21 characters. */
const REQUEST = 'V1StGXR8_Z5jdHi6B-myT';

/** Sizes of record batches: an event that came alone, and a part of a large batch. */
export const BATCH_SIZES = [1, 256] as const;
/** Endpoints, and models, that a customer uses within a window. */
export const DIMENSIONS = [2, 20] as const;
/** Events of one customer in its one window. */
export const EVENTS_PER_WINDOW = 500;

/** Bytes of Redis; customer ids have 15 characters, tenant ids 8, event ids are UUIDs. */
export interface UsageMemory {
  /** Per event in flight, by size of the record batch: what the stream holds until it is folded and archived. */
  readonly perEvent: readonly number[];
  /** Per window document and per customer's counters (a minute, an hour, a day), by dimensions. */
  readonly perWindow: readonly number[];
  readonly perCounters: readonly number[];
  /** Of the index of a customer's hot windows, where there is one window. */
  readonly perIndex: number;
  readonly perId: number;
  readonly ids: number;
}

/** @param customers of each kind, each with EVENTS_PER_WINDOW events */
export async function usageMemory(server: RedisServer, customers: number): Promise<UsageMemory> {
  const redis = new Redis(server.url);
  try {
    const perEvent: number[] = [];
    for (const size of BATCH_SIZES) perEvent.push(await streamBytes(redis, size, customers * 50));
    return { perEvent, ...(await stateBytes(server, redis, customers)) };
  } finally {
    await emptyRedis(redis);
    redis.disconnect();
  }
}

/** Nobody folds: the stream holds all of it. */
async function streamBytes(redis: Redis, messagesPerEntry: number, count: number): Promise<number> {
  const namespace = `bench-${randomUUID()}`;
  await emptyRedis(redis);
  const now = Date.now();
  const at = (index: number) => ({
    ...usageMessage(index % 50, index, 2, now),
    ...(messagesPerEntry === 1 ? { request: REQUEST } : {}),
  });
  await fillStreams(redis, new Keys(namespace), { topic: 'usage', count, messagesPerEntry, at });
  return (await new MemoryUsage(redis).of(`${namespace}:*:stream`)).bytes / count;
}

/** One worker folds; then its documents are looked at. */
async function stateBytes(
  server: RedisServer,
  redis: Redis,
  customers: number,
): Promise<Omit<UsageMemory, 'perEvent'>> {
  const namespace = `bench-${randomUUID()}`;
  const keys = new Keys(namespace);
  await emptyRedis(redis);
  const events = allEvents(customers);
  await fillStreams(redis, keys, events);
  const worker = await startProcess('consumer/main.js', {
    ...{ REDIS_URL: server.url, WEIR_NAMESPACE: namespace, PARTITIONS: String(PARTITIONS), OPS_PORT: '0' },
  });
  try {
    const { count } = events;
    await watch(count, async () => count - (await backlog(redis, keys, 'usage')), DEADLINE_MS);
  } finally {
    await worker.stop();
  }
  const usage = new MemoryUsage(redis);
  const each = async (kind: string): Promise<number[]> => {
    const bytes: number[] = [];
    for (const group of DIMENSIONS.keys()) {
      const pattern = `${namespace}:*:doc:${kind}:*:${customerOf(group, 0).slice(0, 10)}*`;
      bytes.push((await usage.of(pattern, customers)).bytes / customers);
    }
    return bytes;
  };
  const indexes = customers * DIMENSIONS.length;
  return {
    perWindow: await each('window'),
    perCounters: await each('counters'),
    perIndex: (await usage.of(`${namespace}:*:index:windows:*`, indexes)).bytes / indexes,
    perId: (await usage.of(`${namespace}:*:ids:*`)).bytes / events.count,
    ids: events.count,
  };
}

/** All of one moment: one window, one minute, one hour, one day for each customer. */
function allEvents(customers: number): Events {
  const now = Date.now();
  const each = customers * EVENTS_PER_WINDOW;
  return {
    topic: 'usage',
    count: each * DIMENSIONS.length,
    messagesPerEntry: 256,
    at: (index) => {
      const group = Math.floor(index / each);
      const ofGroup = index % each;
      return {
        ...usageMessage(ofGroup % customers, Math.floor(ofGroup / customers), DIMENSIONS[group]!, now),
        subject: customerOf(group, ofGroup % customers),
      };
    },
  };
}

function usageMessage(customer: number, index: number, dimensions: number, timestamp: number) {
  return {
    type: USAGE,
    tenant: `tenant-${customer % TENANTS}`,
    subject: customerOf(0, customer),
    timestamp,
    data: usageData(usageSample(index, dimensions, dimensions)),
  };
}

/** `customer-a00001`. */
function customerOf(group: number, index: number): string {
  return `customer-${'ab'[group]}${String(index).padStart(5, '0')}`;
}
