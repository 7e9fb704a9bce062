import { Redis } from 'ioredis';
import type { Archive } from '../../consumer/engine/archive.js';
import type { Sink } from '../../consumer/engine/outbox-drain.js';
import type { Rule } from '../../rules/restrictions/rule.js';
import { testNamespace, testRedis } from './hooks.js';
import { EventsTopic } from './partitions.js';
import { startWorker, type TestWorker } from './workers.js';

/** A namespace of its own, a connection, and workers that are closed with the test. */
export class EngineFixture {
  readonly namespace = testNamespace();
  readonly redis: Redis;
  readonly topic: EventsTopic;
  readonly environment: Readonly<Record<string, string>>;
  private readonly cleanup: (() => Promise<unknown>)[] = [];

  constructor(url: string = testRedis().url, settings: Readonly<Record<string, string>> = {}) {
    this.redis = new Redis(url);
    this.redis.on('error', () => undefined);
    this.topic = new EventsTopic(this.redis, this.namespace);
    this.environment = { REDIS_URL: url, WEIR_NAMESPACE: this.namespace, ...settings };
  }

  async worker(
    settings: Readonly<Record<string, string>> = {},
    rules?: readonly Rule[],
    sinks?: readonly Sink[],
    archive?: Archive,
    onError?: (line: Record<string, unknown>) => void,
  ): Promise<TestWorker> {
    const environment = { ...this.environment, ...settings };
    const worker = await startWorker(environment, rules, sinks, archive, onError);
    this.onClose(() => worker.close());
    return worker;
  }

  onClose(release: () => Promise<unknown>): void {
    this.cleanup.push(release);
  }

  async close(): Promise<void> {
    for (const release of this.cleanup.reverse()) await release();
    this.redis.disconnect();
  }
}
