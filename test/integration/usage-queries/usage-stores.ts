import pg from 'pg';
import { pino } from 'pino';
import {
  countersDocument,
  hotWindowsIndex,
  PARTITION_DOCUMENT,
  windowDocument,
} from '../../../shared/keys.js';
import { appRole } from '../../../shared/postgres/database-url.js';
import { migrate } from '../../../shared/postgres/migrate.js';
import type { AggregationData } from '../../../shared/postgres/schema.js';
import { encodeCounters, encodeMetering, encodeWindow } from '../../../shared/state/metering-codec.js';
import type { CountersState, MeteringState, WindowState } from '../../../shared/state/metering-state.js';
import { testPostgres } from '../../support/hooks.js';
import { type Answer, ApiUnderTest } from '../api/api-under-test.js';

export const WINDOW_MS = 30_000;
/** 2023-11-20T10:00:00Z. */
export const TEN = Date.UTC(2023, 10, 20, 10);

export interface ArchivedEvent {
  readonly tenant?: string;
  readonly customer?: string;
  readonly status?: 'accepted' | 'late' | 'duplicate' | 'dead';
  readonly acceptedAt?: number;
  readonly index?: number;
  readonly windowRevision?: number;
  readonly windowStart?: number;
  readonly source?: string | null;
  readonly tokens?: number;
}

/** An API with a Redis and a Postgres of its own; the test plays the workers and writes what they would. */
export class UsageStores {
  private constructor(
    readonly api: ApiUnderTest,
    /** As the owner, whom row level security does not bind. */
    private readonly owner: pg.Client,
    private readonly url: string,
  ) {}

  static async start(settings: Readonly<Record<string, string>> = {}): Promise<UsageStores> {
    const url = await (await testPostgres()).createDatabase();
    await migrate(url, pino({ level: 'silent' }), { waitMs: 10_000 });
    const owner = new pg.Client({ connectionString: url });
    await owner.connect();
    const api = await (await ApiUnderTest.start({ DATABASE_URL: url, ...settings })).connected();
    return new UsageStores(api, owner, url);
  }

  async close(): Promise<void> {
    await this.api.close();
    await this.owner.end();
  }

  get(path: string, tenant = 't1', headers: Readonly<Record<string, string>> = {}): Promise<Answer> {
    return this.api.request('GET', path, undefined, { 'x-tenant-id': tenant, ...headers });
  }

  /** As if Postgres were away: the API's role can connect no more, and is connected no more. */
  async lockOut(): Promise<void> {
    await this.owner.query(`ALTER ROLE ${appRole(this.url)} CONNECTION LIMIT 0`);
    await this.owner.query('SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1', [
      appRole(this.url),
    ]);
  }

  async letIn(): Promise<void> {
    await this.owner.query(`ALTER ROLE ${appRole(this.url)} CONNECTION LIMIT -1`);
  }

  /** The partition's document and how far its head is; nothing waits unless `waiting` says so. */
  async partition(
    more: Partial<MeteringState>,
    { at = TEN, waiting = 0, tenant = 't1', customer = 'c1' } = {},
  ): Promise<void> {
    const { keys } = this.api.slots.ofCustomer(tenant, customer);
    const state = { owner: undefined, bornAt: 1, coldUntil: 0, emissions: 0, archived: 0, ...more };
    await this.api.redis.set(keys.doc(PARTITION_DOCUMENT), encodeMetering(state));
    await this.api.redis.hset(keys.head, 'at', at, 'folded', 10);
    await this.api.redis.set(keys.appended, 10 + waiting);
  }

  async hotWindow(
    start: number,
    more: Partial<WindowState> = {},
    tenant = 't1',
    customer = 'c1',
  ): Promise<void> {
    const { keys } = this.api.slots.ofCustomer(tenant, customer);
    const document = encodeWindow({ ...windowState(start), ...more });
    await this.api.redis.set(keys.doc(windowDocument(tenant, start, customer)), document);
    await this.api.redis.zadd(keys.index(hotWindowsIndex(tenant, customer)), start, String(start));
  }

  async counters(state: CountersState, tenant = 't1', customer = 'c1'): Promise<void> {
    const { keys } = this.api.slots.ofCustomer(tenant, customer);
    await this.api.redis.set(keys.doc(countersDocument(tenant, customer)), encodeCounters(state));
  }

  async customer(tenant = 't1', customer = 'c1'): Promise<number> {
    await this.owner.query('INSERT INTO tenants (id, name) VALUES ($1, $1) ON CONFLICT DO NOTHING', [tenant]);
    const { rows } = await this.owner.query<{ id: string }>(
      `INSERT INTO customers (tenant_id, external_id, name) VALUES ($1, $2, $2)
       ON CONFLICT (tenant_id, external_id) DO UPDATE SET name = excluded.name RETURNING id`,
      [tenant, customer],
    );
    return Number(rows[0]!.id);
  }

  async archivedWindow(
    start: number,
    { calls = 1, tokens = 10, revision = 1, latency = [] as number[], names = ['/v1/cold'] } = {},
    tenant = 't1',
    customer = 'c1',
  ): Promise<void> {
    const data: AggregationData = {
      endpoints: [...names.map((name) => [name, calls, tokens] as const), ['__proto__', 0, 0]],
      models: [['cold-model', calls, tokens]],
      latency,
    };
    await this.owner.query(
      `INSERT INTO aggregation_windows (tenant_id, customer_id, window_start, window_end, status, revision, partition,
         total_calls, total_tokens, total_input_tokens, total_output_tokens, latency_count, latency_sum_us, late_events,
         aggregation_data, as_of_at, as_of_seq, as_of_index)
       VALUES ($1, $2, $3, $4, $5, $6, 3, $7, $8, 0, 0, 0, 0, 0, $9, $10, 4, 5)`,
      [
        ...[tenant, await this.customer(tenant, customer), new Date(start), new Date(start + WINDOW_MS)],
        ...[revision === 1 ? 'closed' : 'revised', revision, calls, tokens, JSON.stringify(data)],
        new Date(start + 1234),
      ],
    );
  }

  async archivedEvent(eventId: string, event: ArchivedEvent = {}): Promise<void> {
    const { tenant = 't1', customer = 'c1', status = 'accepted' } = event;
    const { acceptedAt = Date.now(), index = 0, windowRevision = 1, windowStart = TEN } = event;
    const { source = null, tokens = 0 } = event;
    await this.owner.query(
      `INSERT INTO usage_events (accepted_at, partition, entry_seq, message_index, tenant_id, customer_id, event_id,
         event_at, window_start, status, window_revision, endpoint, tokens, input_tokens, output_tokens, source)
       VALUES ($1, 3, 7, $2, $3, $4, $5, $6, $6, $7, $8, '/v1', $9, 0, 0, $10)`,
      [
        ...[new Date(acceptedAt), index, tenant, await this.customer(tenant, customer), eventId],
        ...[new Date(windowStart), status, windowRevision, tokens, source],
      ],
    );
  }
}

/** A closed window with a call of 15 tokens in 250 ms. */
function windowState(start: number): WindowState {
  return {
    ...{ start, owner: undefined, nameBytes: 0, status: 'closed', revision: 1, settling: false, late: 0 },
    ...{ calls: 1, tokens: 15, inputTokens: 5, outputTokens: 10, emission: 1 },
    byEndpoint: new Map([['/v1/hot', { calls: 1, tokens: 15 }]]),
    byModel: new Map([['hot-model', { calls: 1, tokens: 15 }]]),
    ...{
      latencyCount: 1,
      latencySumUs: 250_000,
      latency: new Map(),
      asOfEntry: `${start + 99}-2`,
      asOfIndex: 3,
    },
  };
}
