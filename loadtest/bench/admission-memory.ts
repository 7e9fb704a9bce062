import { randomUUID } from 'node:crypto';
import { Redis } from 'ioredis';
import { Keys } from '../../shared/keys.js';
import { SETTLE } from '../../shared/messages/admissions.js';
import { ADMISSION_SETTINGS, TENANT } from './admission-budget.js';
import { fillAdmits } from './admission-rate.js';
import { fillStreams, foldedMessages, PARTITIONS, watch } from './fill-streams.js';
import { MemoryUsage } from './memory-usage.js';
import { startProcess } from './processes.js';
import { emptyRedis, type RedisServer } from './redis-server.js';

const DEADLINE_MS = 60_000;
const MESSAGES_PER_ENTRY = 256;

/** Bytes of Redis for each admission; the tenant's id has 5 characters, the names of its two levels 13. */
export interface AdmissionMemory {
  /** The document. */
  readonly held: number;
  /** Its place among the timers. */
  readonly timer: number;
  /** The document of one that is settled and kept, which has no timer. */
  readonly settled: number;
}

export async function admissionMemory(server: RedisServer, admissions: number): Promise<AdmissionMemory> {
  const namespace = `bench-${randomUUID()}`;
  const keys = new Keys(namespace);
  const redis = new Redis(server.url);
  const usage = new MemoryUsage(redis);
  const each = async (pattern: string, expected?: number) =>
    (await usage.of(`${namespace}:{admissions.*}:${pattern}`, expected)).bytes / admissions;
  try {
    await emptyRedis(redis);
    const ids = await fillAdmits(redis, keys, admissions, MESSAGES_PER_ENTRY);
    await foldAll(server, keys, redis, admissions + 1);
    const held = await each('doc:admission:*', admissions);
    const timer = await each('timers', 1);
    await fillStreams(redis, keys, {
      ...{ topic: 'admissions', count: admissions, messagesPerEntry: MESSAGES_PER_ENTRY },
      at: (index) => ({
        ...{ type: SETTLE, tenant: TENANT, subject: TENANT },
        data: { admission: ids[index]!, actual: 80 },
      }),
    });
    await foldAll(server, keys, redis, 2 * admissions + 1);
    const settled = await each('doc:admission:*', admissions);
    return { held, timer, settled };
  } finally {
    await emptyRedis(redis);
    redis.disconnect();
  }
}

/** One worker folds what is there, and leaves. @param expected messages, over all there ever were */
async function foldAll({ url }: RedisServer, keys: Keys, redis: Redis, expected: number): Promise<void> {
  const worker = await startProcess('consumer/main.js', {
    ...{ REDIS_URL: url, WEIR_NAMESPACE: keys.namespace, PARTITIONS: String(PARTITIONS) },
    ...{ OPS_PORT: '0', ...ADMISSION_SETTINGS },
  });
  try {
    await watch(expected, () => foldedMessages(redis, keys, 'admissions'), DEADLINE_MS);
  } finally {
    await worker.stop();
  }
}
