import { type Job, Worker } from 'bullmq';
import { Redis } from 'ioredis';

/**
 * The peer of (f), second half: one BullMQ worker that sums events per window. Jobs that are at work at the same time
 * are summed in memory first and go to Redis together, one HINCRBY for each field of each window; a job is done when
 * that is answered. Neither duplicates nor an order are looked after, and a worker that dies counts some jobs twice.
 */
interface Event {
  readonly timestamp: string;
  readonly tenantId: string;
  readonly customerId: string;
  readonly apiEndpoint: string;
  readonly metadata: {
    readonly tokens: number;
    readonly inputTokens: number;
    readonly outputTokens: number;
    readonly model: string;
    readonly latencyMs: number;
  };
}

const CONCURRENCY = 500;
const WINDOW_MS = 30_000;
const [, , port = '', queue = '', countedKey = ''] = process.argv;
const connection = { host: '127.0.0.1', port: Number(port), maxRetriesPerRequest: null };
const redis = new Redis(connection);

/** Window → field → sum. */
let sums = new Map<string, Map<string, number>>();
let jobs = 0;
let flushing: Promise<void> | undefined;

const worker = new Worker(
  queue,
  async ({ data }: Job<Event>) => {
    count(data);
    flushing ??= new Promise((resolve, reject) => {
      setImmediate(() => flush().then(resolve, reject));
    });
    await flushing;
  },
  { connection, concurrency: CONCURRENCY, removeOnComplete: { count: 0 }, autorun: false },
);

function count({ timestamp, tenantId, customerId, apiEndpoint, metadata }: Event): void {
  const start = Math.floor(Date.parse(timestamp) / WINDOW_MS) * WINDOW_MS;
  const key = `peer:window:${tenantId}:${start}:${customerId}`;
  let window = sums.get(key);
  if (window === undefined) {
    window = new Map();
    sums.set(key, window);
  }
  const { tokens, inputTokens, outputTokens, model, latencyMs } = metadata;
  const add = (field: string, by: number) => window.set(field, (window.get(field) ?? 0) + by);
  add('calls', 1);
  add('tokens', tokens);
  add('inputTokens', inputTokens);
  add('outputTokens', outputTokens);
  add('latencyMs', latencyMs);
  add(`endpoint:${apiEndpoint}:calls`, 1);
  add(`endpoint:${apiEndpoint}:tokens`, tokens);
  add(`model:${model}:calls`, 1);
  add(`model:${model}:tokens`, tokens);
  jobs += 1;
}

async function flush(): Promise<void> {
  const [flushed, flushedJobs] = [sums, jobs];
  sums = new Map();
  jobs = 0;
  flushing = undefined;
  const pipeline = redis.pipeline();
  for (const [key, fields] of flushed) {
    for (const [field, by] of fields) pipeline.hincrby(key, field, by);
  }
  // What the benchmark watches.
  pipeline.incrby(countedKey, flushedJobs);
  for (const [error] of (await pipeline.exec()) ?? []) if (error !== null) throw error;
}

process.on('SIGTERM', () => process.exit(0));
process.on('disconnect', () => process.exit(0));
await worker.waitUntilReady();
process.send?.({ type: 'listening' });
await worker.run();
