import { Queue } from 'bullmq';
import Fastify from 'fastify';

/**
 * The peer of (f), first half: takes the same bodies as POST /usage/batch and puts every event into a BullMQ queue,
 * 1,000 jobs with one call. Nothing is checked.
 */
const [, , port = '', name = ''] = process.argv;
const queue = new Queue(name, {
  connection: { host: '127.0.0.1', port: Number(port) },
  defaultJobOptions: { removeOnComplete: true },
});
const app = Fastify({ logger: false, bodyLimit: 4 * 1024 * 1024 });

app.post<{ Body: object[] }>('/usage/batch', async ({ body }, reply) => {
  await queue.addBulk(body.map((event) => ({ name: 'usage', data: event })));
  reply.code(202);
  return { accepted: body.length, rejected: [] };
});

process.on('SIGTERM', () => process.exit(0));
process.on('disconnect', () => process.exit(0));
await queue.waitUntilReady();
const url = await app.listen({ port: 0, host: '127.0.0.1' });
process.send?.({ type: 'listening', url });
