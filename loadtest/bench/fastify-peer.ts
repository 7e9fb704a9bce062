import Fastify from 'fastify';
import { Redis } from 'ioredis';

/**
 * The peer of (a), (c) and (g): a bare Fastify handler, and nothing but what the answer needs. Nothing is checked, logged,
 * counted or bounded; one stream instead of partitions; no request ids. ioredis as fast as it goes by itself.
 */
const [, , redisUrl = ''] = process.argv;
const redis = new Redis(redisUrl, { enableAutoPipelining: true, protocol: 2 });
const app = Fastify({ logger: false });

interface Event {
  readonly event_id: string;
}

interface Usage {
  readonly eventId: string;
}

app.post<{ Body: Event }>('/event', async ({ body }, reply) => {
  await redis.xadd('peer:stream', '*', 'v', '1', 'n', '1', 'm', JSON.stringify(body));
  reply.code(202);
  return { status: 'accepted', event_id: body.event_id };
});

app.post<{ Body: Usage }>('/usage', async ({ body }, reply) => {
  await redis.xadd('peer:stream', '*', 'v', '1', 'n', '1', 'm', JSON.stringify(body));
  reply.code(202);
  return { status: 'accepted', eventId: body.eventId };
});

app.get<{ Querystring: { user_id: string } }>('/canmessage', async ({ query }) => {
  const document = await redis.get(peerDocument(query.user_id));
  const denied = document === null ? undefined : (JSON.parse(document) as { denied?: string[] }).denied;
  return { can_message: denied === undefined || !denied.includes('message') };
});

/** Where the benchmark puts the copy of a user's document that the peer reads. */
function peerDocument(userId: string): string {
  return `peer:user:${userId}`;
}

process.on('SIGTERM', () => process.exit(0));
process.on('disconnect', () => process.exit(0));
const url = await app.listen({ port: 0, host: '127.0.0.1' });
process.send?.({ type: 'listening', url });
