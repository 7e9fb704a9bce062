import { isDeepStrictEqual } from 'node:util';
import { composeApi } from '../../api/compose.js';
import { RULES } from '../../rules/restrictions/registry.js';
import type { Rule } from '../../rules/restrictions/rule.js';
import { Lifecycle } from '../../shared/lifecycle.js';
import { loadConfig } from '../../shared/load-config.js';
import { createLogger } from '../../shared/logging.js';
import { EngineFixture } from './engine-fixture.js';
import { testPostgres } from './hooks.js';
import { HttpClient } from './http-client.js';
import type { PostgresServer } from './postgres-server.js';
import { until } from './redis-server.js';
import { UsageTopic } from './usage-topic.js';

type Settings = Readonly<Record<string, string>>;

export interface WeirOptions {
  /** Environment variables of the API and of the workers. */
  readonly settings?: Settings;
  /** Workers to begin with. */
  readonly workers?: number;
  readonly redisUrl?: string;
  /** A database of its own for API and workers: of the run's Postgres (true), or of one that the test may kill. */
  readonly postgres?: true | PostgresServer;
}

/** Timing that a machine with other work to do can keep. */
const TIMING = { LEASE_TTL_MS: '1500', HEARTBEAT_MS: '300', LOG_LEVEL: 'silent' } as const;
const PATIENCE = {
  REDIS_COMMAND_TIMEOUT_MS: '5000',
  ADMISSION_DEADLINE_MS: '5000',
  REPLY_DEADLINE_MS: '8000',
} as const;
/** The tests of everything but the tripwire restrict as many users as they like. */
export const NO_TRIPWIRE = { TRIPWIRE_MIN_POPULATION: '1000000' } as const;

/** The whole of weir in this process, over a namespace of its own: a real API, real workers, a real Redis. */
export class WeirFixture extends EngineFixture {
  /** The API that was started first. */
  http = new HttpClient('');
  readonly usage = new UsageTopic(this.redis, this.namespace);

  /** Resolves when `GET /ready` is 200; without workers, when the API has found its Redis. */
  static async start({
    settings = {},
    workers = 1,
    redisUrl,
    postgres,
  }: WeirOptions = {}): Promise<WeirFixture> {
    const database = postgres === undefined ? {} : { DATABASE_URL: await databaseOf(postgres) };
    // Redis and workers are there, however busy: only tests that take them away are to give them up soon.
    const patience = redisUrl === undefined && workers > 0 ? PATIENCE : {};
    const weir = new WeirFixture(redisUrl, { ...TIMING, ...patience, ...database, ...settings });
    try {
      weir.http = await weir.api();
      await Promise.all(Array.from({ length: workers }, () => weir.worker()));
      if (workers > 0) await weir.ready();
      return weir;
    } catch (error) {
      await weir.close();
      throw error;
    }
  }

  /** One more API. Resolves when it has found its Redis. */
  async api(settings: Settings = {}, rules: readonly Rule[] = RULES): Promise<HttpClient> {
    const config = loadConfig({ PORT: '0', ...this.environment, ...settings });
    const log = createLogger('test-api', config.LOG_LEVEL);
    const lifecycle = new Lifecycle(log);
    this.onClose(() => lifecycle.close());
    const onMismatch = (error: Error): never => {
      throw error;
    };
    const { url } = await composeApi({ config, lifecycle, log, rules, onMismatch });
    const http = new HttpClient(url);
    await until(10_000, 'the API has found its Redis', async () => {
      const { body } = await http.get<{ checks: { redis: string } }>('/ready');
      return body.checks.redis === 'ok';
    });
    return http;
  }

  async ready(): Promise<void> {
    await until(10_000, '/ready is 200', async () => (await this.http.get('/ready')).status === 200);
  }

  /**
   * Everything that lies in the namespace, by key, but for what workers write without being asked: heartbeats.
   * Leases stay, because their value changes only with their holder.
   */
  async contents(): Promise<Readonly<Record<string, unknown>>> {
    const found: Record<string, unknown> = {};
    let cursor = '0';
    do {
      const [next, keys] = await this.redis.scan(cursor, 'MATCH', `${this.namespace}:*`, 'COUNT', 1000);
      for (const key of keys) if (key !== this.topic.keys.workers) found[key] = await this.read(key);
      cursor = next;
    } while (cursor !== '0');
    return found;
  }

  /** The contents once nothing changes them any more: trimmed, drained, every heartbeat seen. */
  async settledContents(): Promise<Readonly<Record<string, unknown>>> {
    let before = await this.contents();
    await until(10_000, 'nothing changes any more', async () => {
      const since = Date.now();
      await until(10_000, 'two heartbeats', () => Date.now() - since > 2 * Number(TIMING.HEARTBEAT_MS));
      const now = await this.contents();
      const isSettled = isDeepStrictEqual(before, now);
      before = now;
      return isSettled;
    });
    return before;
  }

  private async read(key: string): Promise<unknown> {
    const type = await this.redis.type(key);
    switch (type) {
      case 'string':
        return this.redis.get(key);
      case 'hash':
        return this.redis.hgetall(key);
      case 'zset':
        return this.redis.zrange(key, '0', '-1', 'WITHSCORES');
      case 'stream':
        return this.redis.xrange(key, '-', '+');
      default:
        throw new Error(`${key} is a ${type}`);
    }
  }
}

async function databaseOf(postgres: true | PostgresServer): Promise<string> {
  return (postgres === true ? await testPostgres() : postgres).createDatabase();
}
