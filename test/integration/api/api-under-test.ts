import { Redis } from 'ioredis';
import { pino } from 'pino';
import { composeApi } from '../../../api/compose.js';
import { Slots } from '../../../api/slots.js';
import { RULES } from '../../../rules/restrictions/registry.js';
import { Keys } from '../../../shared/keys.js';
import { Lifecycle } from '../../../shared/lifecycle.js';
import { loadConfig } from '../../../shared/load-config.js';
import type { Message } from '../../../shared/messages/message.js';
import { decodeEntry } from '../../../shared/messages/record-batch.js';
import type { SetupError } from '../../../shared/setup-error.js';
import { testNamespace, testRedis } from '../../support/hooks.js';
import { until } from '../../support/redis-server.js';

type Environment = Readonly<Record<string, string>>;

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly body: Record<string, unknown>;
}

/** A whole API in this process, on a free port, with a namespace of its own and no workers. */
export class ApiUnderTest {
  readonly mismatches: SetupError[] = [];
  url = '';

  private constructor(
    readonly keys: Keys,
    readonly slots: Slots,
    /** A connection of the test's own. */
    readonly redis: Redis,
    private readonly lifecycle: Lifecycle,
  ) {}

  static async start(settings: Environment = {}): Promise<ApiUnderTest> {
    const config = loadConfig({
      PORT: '0',
      REDIS_URL: testRedis().url,
      WEIR_NAMESPACE: testNamespace(),
      PARTITIONS: '4',
      // The run's own Redis is there, however busy: only tests that take theirs away are to give it up soon.
      ...(settings['REDIS_URL'] === undefined && { REDIS_COMMAND_TIMEOUT_MS: '5000' }),
      ...settings,
    });
    const log = pino({ level: process.env['TEST_LOG_LEVEL'] ?? 'silent' });
    const lifecycle = new Lifecycle(log);
    const redis = new Redis(config.redisUrl!, { protocol: 2 });
    redis.on('error', () => undefined);
    const keys = new Keys(config.WEIR_NAMESPACE);
    const api = new ApiUnderTest(keys, new Slots(keys, config.PARTITIONS), redis, lifecycle);
    const onMismatch = (error: SetupError): void => {
      api.mismatches.push(error);
    };
    const { url } = await composeApi({ config, lifecycle, log, rules: RULES, onMismatch });
    api.url = url;
    return api;
  }

  /** Waits until the API has found its Redis. */
  async connected(): Promise<this> {
    await until(5000, 'the API has found its Redis', async () => {
      const { status } = await this.get('/canmessage?user_id=nobody');
      return status === 200 || this.mismatches.length > 0;
    });
    return this;
  }

  async close(): Promise<void> {
    await this.lifecycle.close();
    this.redis.disconnect();
  }

  get(path: string): Promise<Answer> {
    return this.request('GET', path);
  }

  post(path: string, body?: unknown, headers: Environment = {}): Promise<Answer> {
    return this.request('POST', path, body, headers);
  }

  /** Sends text as it is, anything else as JSON. */
  async request(method: string, path: string, body?: unknown, headers: Environment = {}): Promise<Answer> {
    const response = await fetch(this.url + path, {
      method,
      headers: { ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
      ...(body === undefined
        ? {}
        : { body: typeof body === 'string' || body instanceof Uint8Array ? body : JSON.stringify(body) }),
    });
    const text = await response.text();
    const isJson = /json/.test(response.headers.get('content-type') ?? '');
    const parsed = isJson ? (JSON.parse(text) as Record<string, unknown>) : { text };
    return { status: response.status, headers: response.headers, body: parsed };
  }

  /** Every message in the streams, partition by partition. */
  async messages(): Promise<Message[]> {
    const found: Message[] = [];
    for (const slot of this.slots.all) {
      for (const [id, fields] of await this.redis.xrange(slot.keys.stream, '-', '+')) {
        const entry = decodeEntry([id, fields]);
        if (entry.kind !== 'batch') throw new Error(`entry ${id} is ${entry.kind}`);
        found.push(...entry.messages);
      }
    }
    return found;
  }

  /** Messages ever appended, by the counters that the backlog is computed from. */
  async appended(): Promise<number> {
    const counts = await Promise.all(this.slots.all.map((slot) => this.redis.get(slot.keys.appended)));
    return counts.reduce((sum, count) => sum + Number(count ?? 0), 0);
  }
}

/** A valid flag on a user. */
export function flag(userId: string, more: object = {}): object {
  return { name: 'scam_message_flagged', event_properties: { user_id: userId }, ...more };
}
