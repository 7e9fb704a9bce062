import { randomUUID } from 'node:crypto';
import { Redis } from 'ioredis';
import { nanoid } from 'nanoid';
import { Keys } from '../../shared/keys.js';
import { ADMISSION_KEY_LENGTH, ADMIT, type AdmissionRequest } from '../../shared/messages/admissions.js';
import type { Message } from '../../shared/messages/message.js';
import { ADMISSION_SETTINGS, hugeBudgets, TENANT } from './admission-budget.js';
import { fillStreams, foldedMessages, PARTITIONS, watch } from './fill-streams.js';
import { cpuMs, startProcess } from './processes.js';
import { emptyRedis, type RedisServer } from './redis-server.js';

const DEADLINE_MS = 60_000;
/** As the API names itself in reply addresses. */
const API_PROCESS = nanoid(12);

export interface AdmissionRateOptions {
  readonly decisions: number;
  /** Messages per record batch: 10 as the API makes them of ordinary traffic, 256 when it is flooded. */
  readonly messagesPerEntry: number;
  /** Of an empty database, into which the ledger goes on meanwhile. */
  readonly databaseUrl?: string;
}

export interface AdmissionRate {
  readonly perSecond: number;
  /** CPU time per decision, in µs; NaN where the system does not tell. */
  readonly workerMicros: number;
  readonly redisMicros: number;
}

/**
 * Decisions per second by one worker, of one tenant: the stream is filled first, then the worker starts, and the time
 * runs from its first commit seen to its last. Every request is deduplicated by its id and by its key, debited at two
 * levels, held with a timer, entered into the ledger and replied to (a reply that is stored, and published to nobody).
 */
export async function admissionRate(
  server: RedisServer,
  { decisions, messagesPerEntry, databaseUrl }: AdmissionRateOptions,
): Promise<AdmissionRate> {
  const namespace = `bench-${randomUUID()}`;
  const keys = new Keys(namespace);
  const redis = new Redis(server.url);
  try {
    await emptyRedis(redis);
    await fillAdmits(redis, keys, decisions, messagesPerEntry);
    const worker = await startProcess('consumer/main.js', {
      ...{ REDIS_URL: server.url, WEIR_NAMESPACE: namespace, PARTITIONS: String(PARTITIONS) },
      ...{ OPS_PORT: '0', ...ADMISSION_SETTINGS },
      ...(databaseUrl === undefined ? {} : { DATABASE_URL: databaseUrl }),
    });
    const sight = (done: number) => ({
      ...{ done, at: performance.now() },
      ...{ worker: cpuMs(worker.pid) ?? Number.NaN, redis: cpuMs(server.pid) ?? Number.NaN },
    });
    let first: ReturnType<typeof sight> | undefined;
    const folded = () => foldedMessages(redis, keys, 'admissions');
    await watch(decisions + 1, folded, DEADLINE_MS, (done) => {
      if (done > 0) first ??= sight(done);
    });
    if (first === undefined || first.done > decisions / 2) throw new Error('too few decisions to see a rate');
    const last = sight(decisions + 1);
    const count = last.done - first.done;
    await worker.stop();
    await assertHeld(redis, keys, decisions);
    return {
      perSecond: (count / (last.at - first.at)) * 1000,
      workerMicros: ((last.worker - first.worker) * 1000) / count,
      redisMicros: ((last.redis - first.redis) * 1000) / count,
    };
  } finally {
    await emptyRedis(redis);
    redis.disconnect();
  }
}

/** Budgets first, then requests, as the API writes them. @returns the ids of the admissions */
export async function fillAdmits(
  redis: Redis,
  keys: Keys,
  count: number,
  messagesPerEntry: number,
): Promise<readonly string[]> {
  const topic = 'admissions';
  await fillStreams(redis, keys, { topic, count: 1, messagesPerEntry: 1, at: hugeBudgets });
  const ids = Array.from({ length: count }, () => `${nanoid(ADMISSION_KEY_LENGTH)}a${nanoid(7)}`);
  const at = (index: number) => admitMessage(ids[index]!);
  await fillStreams(redis, keys, { topic, count, messagesPerEntry, at });
  return ids;
}

function admitMessage(admission: string): Omit<Message<AdmissionRequest>, 'id'> {
  const data: AdmissionRequest = {
    ...{ pipeline: 'ranking', priority: 'P1', estimated: 100, admission, keyed: true },
    body: nanoid(ADMISSION_KEY_LENGTH),
  };
  return {
    ...{ type: ADMIT, tenant: TENANT, subject: TENANT, data },
    ...{ request: nanoid(), reply: `${API_PROCESS}/${nanoid()}` },
  };
}

/** A request that was refused or became a dead letter would be fast, and no hold. */
async function assertHeld(redis: Redis, keys: Keys, expected: number): Promise<void> {
  const timers = await Promise.all(
    Array.from({ length: PARTITIONS }, (_, index) =>
      redis.zcard(keys.partition({ topic: 'admissions', index }).timers),
    ),
  );
  // One more ends the window.
  const held = timers.reduce((sum, count) => sum + count, 0) - 1;
  if (held !== expected) throw new Error(`${held} of ${expected} requests are held`);
}
