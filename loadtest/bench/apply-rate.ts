import { randomUUID } from 'node:crypto';
import { Queue } from 'bullmq';
import { Redis } from 'ioredis';
import { Keys } from '../../shared/keys.js';
import { fillStreams, foldedMessages, PARTITIONS, watch } from './fill-streams.js';
import { startProcess } from './processes.js';
import type { RedisServer } from './redis-server.js';

const USERS = 10_000;
const DEADLINE_MS = 40_000;
const BULK_JOBS = 1000;

export interface WeirApplyOptions {
  readonly events: number;
  /** Messages per record batch, as the API makes them of what arrives in one turn or one posted batch. */
  readonly messagesPerEntry: number;
}

/**
 * Events applied per second by one worker: the stream is filled first, then the worker starts, and the time runs
 * from its first commit seen to its last. Every event has an id (deduplicated), four rules are asked, the user's
 * state is read, changed and written back.
 */
export async function weirApplyRate(
  { url }: RedisServer,
  { events, messagesPerEntry }: WeirApplyOptions,
): Promise<number> {
  const namespace = `bench-${randomUUID()}`;
  const keys = new Keys(namespace);
  const redis = new Redis(url);
  try {
    const at = (index: number) => ({
      type: 'purchase_made',
      subject: `user-${index % USERS}`,
      data: { amount: 12.5 },
      request: 'bench',
    });
    await fillStreams(redis, keys, { count: events, at, messagesPerEntry });
    const worker = await startProcess('consumer/main.js', {
      REDIS_URL: url,
      WEIR_NAMESPACE: namespace,
      PARTITIONS: String(PARTITIONS),
    });
    const rate = await rateOf(events, () => foldedMessages(redis, keys));
    await worker.stop();
    return rate;
  } finally {
    await redis.flushall();
    redis.disconnect();
  }
}

/** Jobs per second of one BullMQ worker, measured the same way. */
export async function bullmqApplyRate({ url, port }: RedisServer, jobs: number): Promise<number> {
  const redis = new Redis(url);
  const name = `bench-${randomUUID()}`;
  const queue = new Queue(name, { connection: { host: '127.0.0.1', port } });
  try {
    for (let start = 0; start < jobs; start += BULK_JOBS) {
      await queue.addBulk(
        Array.from({ length: Math.min(BULK_JOBS, jobs - start) }, (_, i) => ({
          name: 'purchase_made',
          // HINCRBY takes whole numbers.
          data: { user: `user-${(start + i) % USERS}`, amount: 125 },
          opts: { removeOnComplete: true },
        })),
      );
    }
    const worker = await startProcess('loadtest/bench/bullmq-worker.js', {}, [String(port), name]);
    const rate = await rateOf(jobs, async () => jobs - (await queue.getWaitingCount()));
    await worker.stop();
    // A job that failed would be fast, and no job done.
    const failed = await queue.getFailedCount();
    if (failed > 0) throw new Error(`${failed} BullMQ jobs failed`);
    return rate;
  } finally {
    await queue.close();
    await redis.flushall();
    redis.disconnect();
  }
}

/** Rate between the first and the last progress seen. */
async function rateOf(total: number, progress: () => Promise<number>): Promise<number> {
  let first: { readonly at: number; readonly done: number } | undefined;
  let rate = 0;
  await watch(total, progress, DEADLINE_MS, (done) => {
    const at = performance.now();
    if (first === undefined && done > 0) first = { at, done };
    if (first !== undefined) rate = ((done - first.done) / (at - first.at)) * 1000;
  });
  if (first === undefined || first.done > total / 2) throw new Error('too few events to see a rate');
  return rate;
}
