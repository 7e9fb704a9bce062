import type { Redis } from 'ioredis';
import { append, UNBOUNDED } from '../../shared/append/append.js';
import { ARCHIVE, hotWindowsIndex, Keys, type PartitionKeys } from '../../shared/keys.js';
import { type Partition, partitionOf } from '../../shared/topics.js';
import { until } from './redis-server.js';

/** What a test does with the topic `usage` of one namespace below HTTP: append, look, wait. */
export class UsageTopic {
  private readonly keys: Keys;

  constructor(
    private readonly redis: Redis,
    namespace: string,
    private readonly partitions = 8,
  ) {
    this.keys = new Keys(namespace);
  }

  get all(): PartitionKeys[] {
    return Array.from({ length: this.partitions }, (_, index) => this.keysAt(index));
  }

  partitionOf(tenant: string, customer: string): Partition {
    return { topic: 'usage', index: partitionOf(tenant, customer, this.partitions) };
  }

  keysOf(tenant: string, customer: string): PartitionKeys {
    return this.keys.partition(this.partitionOf(tenant, customer));
  }

  /** Puts one message into the stream as it is, past everything that the API checks. */
  async append(tenant: string, customer: string, message: unknown): Promise<void> {
    await append(this.redis, this.keysOf(tenant, customer), [[JSON.stringify(message)]], UNBOUNDED);
  }

  /** Starts in ms of the customer's windows that are in Redis, ascending. */
  async hotWindows(tenant: string, customer: string): Promise<number[]> {
    const index = this.keysOf(tenant, customer).index(hotWindowsIndex(tenant, customer));
    return (await this.redis.zrange(index, '0', '-1')).map(Number);
  }

  /** Resolves when every message is folded. */
  async drained(deadlineMs = 10_000): Promise<void> {
    await until(deadlineMs, 'every usage message is folded', async () => {
      const each = await Promise.all(this.all.map((keys) => this.backlog(keys)));
      return each.every((backlog) => backlog === 0);
    });
  }

  /** Resolves when the archive has all that the outbox holds, which is nothing of what is still folded. */
  async archived(deadlineMs = 10_000): Promise<void> {
    await until(deadlineMs, 'the archive has everything', async () => {
      const each = await Promise.all(this.all.map((keys) => this.isArchived(keys)));
      return each.every((archived) => archived);
    });
  }

  private keysAt(index: number): PartitionKeys {
    return this.keys.partition({ topic: 'usage', index });
  }

  private async backlog(keys: PartitionKeys): Promise<number> {
    const [appended, folded] = await Promise.all([
      this.redis.get(keys.appended),
      this.redis.hget(keys.head, 'folded'),
    ]);
    return Number(appended ?? 0) - Number(folded ?? 0);
  }

  private async isArchived(keys: PartitionKeys): Promise<boolean> {
    if ((await this.backlog(keys)) !== 0) return false;
    if ((await this.redis.exists(keys.outbox)) === 0) return true;
    const position = await this.redis.hget(keys.sinks, ARCHIVE);
    const info = (await this.redis.xinfo('STREAM', keys.outbox)) as unknown[];
    return position === info[info.indexOf('last-generated-id') + 1];
  }
}
