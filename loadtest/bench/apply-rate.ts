import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { Queue } from 'bullmq';
import { Redis } from 'ioredis';
import { append } from '../../shared/append/append.js';
import { Keys } from '../../shared/keys.js';
import { DEFAULT_TENANT, partitionOf } from '../../shared/topics.js';
import { startProcess } from './processes.js';

const PARTITIONS = 8;
const DEADLINE_MS = 120_000;

export interface ApplyOptions {
  readonly redisUrl: string;
  readonly redisPort: number;
  readonly events: number;
  readonly users: number;
  /** Messages per record batch, as the API makes them of what arrives in one turn or one posted batch. */
  readonly messagesPerEntry: number;
}

/**
 * Events applied per second by one worker: the stream is filled first, then the worker starts, and the time runs
 * from its first commit to its last. Every event has an id (deduplicated), four rules are asked, the user's state
 * is read, changed and written back.
 */
export async function weirApplyRate(options: ApplyOptions): Promise<number> {
  const { redisUrl, events } = options;
  const namespace = `bench-${randomUUID()}`;
  const keys = new Keys(namespace);
  const redis = new Redis(redisUrl);
  await fillStreams(redis, keys, options);
  const worker = await startProcess('consumer/main.js', {
    REDIS_URL: redisUrl,
    WEIR_NAMESPACE: namespace,
    PARTITIONS: String(PARTITIONS),
  });
  try {
    return await measure(events, async () => {
      const heads = await Promise.all(
        Array.from({ length: PARTITIONS }, (_, index) =>
          redis.hget(keys.partition({ topic: 'events', index }).head, 'folded'),
        ),
      );
      return heads.reduce((sum, folded) => sum + Number(folded ?? 0), 0);
    });
  } finally {
    await worker.stop();
    await redis.flushall();
    redis.disconnect();
  }
}

/** Jobs per second of one BullMQ worker, measured the same way. */
export async function bullmqApplyRate({ redisUrl, redisPort, events, users }: ApplyOptions): Promise<number> {
  const redis = new Redis(redisUrl);
  const name = `bench-${randomUUID()}`;
  const queue = new Queue(name, { connection: { host: '127.0.0.1', port: redisPort } });
  for (let start = 0; start < events; start += 1000) {
    await queue.addBulk(
      Array.from({ length: Math.min(1000, events - start) }, (_, i) => ({
        name: 'purchase_made',
        data: { user: `user-${(start + i) % users}`, amount: 12.5 },
        opts: { removeOnComplete: true },
      })),
    );
  }
  const worker = await startProcess('loadtest/bench/bullmq-worker.js', {}, [String(redisPort), name]);
  try {
    return await measure(events, async () => events - (await queue.getWaitingCount()));
  } finally {
    await worker.stop();
    await queue.close();
    await redis.flushall();
    redis.disconnect();
  }
}

async function fillStreams(redis: Redis, keys: Keys, options: ApplyOptions): Promise<void> {
  const { events, users, messagesPerEntry } = options;
  const waiting: string[][] = Array.from({ length: PARTITIONS }, () => []);
  let writes: Promise<unknown>[] = [];
  for (let i = 0; i < events; i += 1) {
    const subject = `user-${i % users}`;
    const partition = partitionOf(DEFAULT_TENANT, subject, PARTITIONS);
    const batch = waiting[partition]!;
    batch.push(
      JSON.stringify({ type: 'purchase_made', subject, id: randomUUID(), data: { amount: 12.5 }, request: 'bench' }),
    );
    const last = i >= events - users * PARTITIONS;
    if (batch.length < messagesPerEntry && !last) continue;
    writes.push(append(redis, keys.partition({ topic: 'events', index: partition }), batch, 0));
    waiting[partition] = [];
    if (writes.length < 200) continue;
    await Promise.all(writes);
    writes = [];
  }
  for (const [index, batch] of waiting.entries()) {
    if (batch.length > 0) writes.push(append(redis, keys.partition({ topic: 'events', index }), batch, 0));
  }
  await Promise.all(writes);
}

/** Rate between the first and the last progress seen. */
async function measure(total: number, progress: () => Promise<number>): Promise<number> {
  const deadline = Date.now() + DEADLINE_MS;
  let first: { readonly at: number; readonly done: number } | undefined;
  while (Date.now() < deadline) {
    const done = await progress();
    const at = performance.now();
    if (first === undefined && done > 0) first = { at, done };
    if (done >= total && first !== undefined) return ((done - first.done) / (at - first.at)) * 1000;
    await sleep(5);
  }
  throw new Error(`not finished within ${DEADLINE_MS} ms`);
}
