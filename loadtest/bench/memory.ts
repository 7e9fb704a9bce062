import { Redis } from 'ioredis';
import { Keys } from '../../shared/keys.js';
import { type Events, fillStreams, foldedMessages, PARTITIONS, watch } from './fill-streams.js';
import { MemoryUsage } from './memory-usage.js';
import { startProcess } from './processes.js';
import type { RedisServer } from './redis-server.js';

const NAMESPACE = 'bench-memory';
const DEADLINE_MS = 40_000;

/** What each user of a kind goes through; user ids have 12 characters, event ids are UUIDs. */
const PROFILES = {
  buyer: { users: 10_000, events: 10, type: 'purchase_made', data: { amount: 12.5 } },
  flagger: { users: 10_000, events: 2, type: 'scam_message_flagged', data: {} },
} as const;
type Kind = keyof typeof PROFILES;
const KINDS = Object.keys(PROFILES) as Kind[];

export interface Memory {
  readonly ids: number;
  readonly bytesPerId: number;
  /** A user with purchases only. */
  readonly bytesPerBuyer: number;
  /** A user with two flags, both named as evidence, and the restriction that follows. */
  readonly bytesPerRestricted: number;
  /** What a restricted user costs besides: the entry in the rule's index and in its tripwire. */
  readonly bytesPerRestrictedElsewhere: number;
}

/** Bytes of Redis (`MEMORY USAGE`: key, value and their allocation) after a known number of events and users. */
export async function memoryUse(server: RedisServer): Promise<Memory> {
  const redis = new Redis(server.url);
  const keys = new Keys(NAMESPACE);
  await redis.flushall();
  try {
    const events = allEvents();
    await fillStreams(redis, keys, events);
    const worker = await startProcess('consumer/main.js', {
      ...{ REDIS_URL: server.url, WEIR_NAMESPACE: NAMESPACE, PARTITIONS: String(PARTITIONS) },
      ...{ OPS_PORT: '0', TRIPWIRE_MIN_POPULATION: '1000000000' },
    });
    await watch(events.count, () => foldedMessages(redis, keys), DEADLINE_MS);
    await worker.stop();
    const usage = new MemoryUsage(redis);
    const { users: buyers } = PROFILES.buyer;
    const { users: flaggers } = PROFILES.flagger;
    const elsewhere =
      (await usage.of(`${NAMESPACE}:*:index:*`)).bytes + (await usage.of(`${NAMESPACE}:*:reserved`)).bytes;
    return {
      ids: events.count,
      bytesPerId: (await usage.of(`${NAMESPACE}:*:ids:*`)).bytes / events.count,
      bytesPerBuyer: (await usage.of(`${NAMESPACE}:*:doc:*:buyer-*`, buyers)).bytes / buyers,
      bytesPerRestricted: (await usage.of(`${NAMESPACE}:*:doc:*:flagger-*`, flaggers)).bytes / flaggers,
      bytesPerRestrictedElsewhere: elsewhere / flaggers,
    };
  } finally {
    await redis.flushall();
    redis.disconnect();
  }
}

function allEvents(): Events {
  const parts = KINDS.map((kind) => {
    const { users, events, type, data } = PROFILES[kind];
    return {
      count: users * events,
      at: (index: number) => ({ type, subject: userOf(kind, index % users), data, request: 'bench' }),
    };
  });
  const count = parts.reduce((sum, part) => sum + part.count, 0);
  return {
    count,
    messagesPerEntry: 32,
    at: (index) => {
      let left = index;
      for (const part of parts) {
        if (left < part.count) return part.at(left);
        left -= part.count;
      }
      throw new Error(`there is no event ${index}`);
    },
  };
}

/** `buyer-000001`: 12 characters, whatever the kind. */
function userOf(kind: Kind, index: number): string {
  return `${kind}-${String(index).padStart(11 - kind.length, '0')}`;
}
