import { Worker } from 'bullmq';
import { Redis } from 'ioredis';

/** The peer: one BullMQ worker at concurrency 200 whose job is one HINCRBY. Says when it is ready. */
const [, , port = '', queue = ''] = process.argv;
const connection = { host: '127.0.0.1', port: Number(port), maxRetriesPerRequest: null };
const redis = new Redis({ ...connection, enableAutoPipelining: true });
const worker = new Worker(
  queue,
  async (job: { data: { user: string; amount: number } }) => {
    await redis.hincrby(`bull-state:${job.data.user}`, 'spend', job.data.amount);
  },
  { connection, concurrency: 200, removeOnComplete: { count: 0 }, autorun: false },
);
process.on('SIGTERM', () => process.exit(0));
process.on('disconnect', () => process.exit(0));
await worker.waitUntilReady();
process.send?.({ type: 'listening' });
await worker.run();
