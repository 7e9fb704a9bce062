import type { Redis } from 'ioredis';
import { append, UNBOUNDED } from '../../shared/append/append.js';
import { Keys, PARTITION_DOCUMENT, type PartitionKeys, userDocument } from '../../shared/keys.js';
import type { Message } from '../../shared/messages/message.js';
import type { PartitionState } from '../../shared/state/partition-state.js';
import { decodePartition, decodeUser } from '../../shared/state/state-codec.js';
import type { UserState } from '../../shared/state/user-state.js';
import { DEFAULT_TENANT, partitionOf } from '../../shared/topics.js';
import { until } from './redis-server.js';

/** What a test does with the topic `events` of one namespace: append, look, wait. */
export class EventsTopic {
  readonly keys: Keys;

  constructor(
    readonly redis: Redis,
    namespace: string,
    readonly partitions = 8,
  ) {
    this.keys = new Keys(namespace);
  }

  get all(): PartitionKeys[] {
    return Array.from({ length: this.partitions }, (_, index) =>
      this.keys.partition({ topic: 'events', index }),
    );
  }

  indexOf(user: string): number {
    return partitionOf(DEFAULT_TENANT, user, this.partitions);
  }

  keysOf(user: string): PartitionKeys {
    return this.keys.partition({ topic: 'events', index: this.indexOf(user) });
  }

  /** Users that share a partition with `user`. */
  neighbours(user: string, count: number): string[] {
    const names: string[] = [];
    for (let i = 0; names.length < count; i += 1) {
      if (this.indexOf(`neighbour-${i}`) === this.indexOf(user)) names.push(`neighbour-${i}`);
    }
    return names;
  }

  /** Appends messages of one partition as one record batch. */
  async append(messages: readonly Message[]): Promise<void> {
    await append(
      this.redis,
      this.keysOf(messages[0]!.subject),
      [messages.map((m) => JSON.stringify(m))],
      UNBOUNDED,
    );
  }

  async user(user: string): Promise<UserState | undefined> {
    const text = await this.redis.get(this.keysOf(user).doc(userDocument(DEFAULT_TENANT, user)));
    return text === null ? undefined : decodeUser(text);
  }

  async partitionState(index: number): Promise<PartitionState> {
    const text = await this.redis.get(
      this.keys.partition({ topic: 'events', index }).doc(PARTITION_DOCUMENT),
    );
    return decodePartition(text ?? '{"v":1}');
  }

  /** Messages appended less messages folded, over all partitions. */
  async backlog(): Promise<number> {
    const each = await Promise.all(
      this.all.map(async (keys) => {
        const [appended, folded] = await Promise.all([
          this.redis.get(keys.appended),
          this.redis.hget(keys.head, 'folded'),
        ]);
        return Number(appended ?? 0) - Number(folded ?? 0);
      }),
    );
    return each.reduce((sum, backlog) => sum + backlog, 0);
  }

  async drained(deadlineMs = 10_000): Promise<void> {
    await until(deadlineMs, 'every message is folded', async () => (await this.backlog()) === 0);
  }

  /** Owner of each partition: the worker part of its lease, null where nobody is. */
  async owners(): Promise<(string | null)[]> {
    const leases = await Promise.all(this.all.map((keys) => this.redis.get(keys.lease)));
    return leases.map((lease) => lease?.split(':')[0] ?? null);
  }
}

let counter = 0;

/** An event as the API would append it. */
export function event(type: string, subject: string, data: object = {}, id?: string): Message {
  counter += 1;
  return { type, subject, id: id ?? `event-${counter}`, data };
}
