import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import { append, UNBOUNDED } from '../../shared/append/append.js';
import type { Keys } from '../../shared/keys.js';
import type { Message } from '../../shared/messages/message.js';
import { DEFAULT_TENANT, partitionOf, type Topic } from '../../shared/topics.js';

export const PARTITIONS = 8;
const WRITES_IN_FLIGHT_MAX = 200;
const POLL_MS = 5;

export interface Events {
  /** Default: `events`. */
  readonly topic?: Topic;
  readonly count: number;
  readonly at: (index: number) => Omit<Message, 'id'>;
  /** Messages per record batch. */
  readonly messagesPerEntry: number;
}

/** Puts events into the partitions' streams, as the API does, each with an id of its own (a UUID). */
export async function fillStreams(
  redis: Redis,
  keys: Keys,
  { topic = 'events', count, at, messagesPerEntry }: Events,
): Promise<void> {
  const waiting: string[][] = Array.from({ length: PARTITIONS }, () => []);
  let writes: Promise<unknown>[] = [];
  const send = (index: number): void => {
    if (waiting[index]!.length === 0) return;
    writes.push(append(redis, keys.partition({ topic, index }), [waiting[index]!], UNBOUNDED));
    waiting[index] = [];
  };
  for (let i = 0; i < count; i += 1) {
    const event = at(i);
    const partition = partitionOf(event.tenant ?? DEFAULT_TENANT, event.subject, PARTITIONS);
    const batch = waiting[partition]!;
    batch.push(JSON.stringify({ ...event, id: randomUUID() }));
    if (batch.length === messagesPerEntry) send(partition);
    if (writes.length < WRITES_IN_FLIGHT_MAX) continue;
    await Promise.all(writes);
    writes = [];
  }
  for (let index = 0; index < PARTITIONS; index += 1) send(index);
  await Promise.all(writes);
}

/** Messages that workers have folded, over all partitions. */
export async function foldedMessages(redis: Redis, keys: Keys, topic: Topic = 'events'): Promise<number> {
  const counts = await Promise.all(
    Array.from({ length: PARTITIONS }, (_, index) =>
      redis.hget(keys.partition({ topic, index }).head, 'folded'),
    ),
  );
  return sum(counts);
}

/** Messages that no worker has folded yet, over all partitions. */
export async function backlog(redis: Redis, keys: Keys, topic: Topic): Promise<number> {
  const appended = await Promise.all(
    Array.from({ length: PARTITIONS }, (_, index) => redis.get(keys.partition({ topic, index }).appended)),
  );
  return sum(appended) - (await foldedMessages(redis, keys, topic));
}

function sum(counts: readonly (string | null)[]): number {
  return counts.reduce((total, count) => total + Number(count ?? 0), 0);
}

/** Watches `progress` until it reaches `total`. @throws after `deadlineMs` */
export async function watch(
  total: number,
  progress: () => Promise<number>,
  deadlineMs: number,
  onProgress: (done: number) => void = () => undefined,
): Promise<void> {
  const deadline = performance.now() + deadlineMs;
  for (;;) {
    const done = await progress();
    onProgress(done);
    if (done >= total) return;
    if (performance.now() > deadline) throw new Error(`${done} of ${total} done after ${deadlineMs} ms`);
    await sleep(POLL_MS);
  }
}
