import type pg from 'pg';
import type { ArchiveBatch, ArchivedWindow, JudgedEvent } from '../../../consumer/engine/archive.js';
import { FIRST_POSITION } from '../../../consumer/engine/head.js';
import {
  type ArchiveMetrics,
  PostgresArchive,
  type PostgresArchiveOptions,
} from '../../../consumer/sinks/postgres-archive.js';
import { createLogger } from '../../../shared/logging.js';
import type { UsageData } from '../../../shared/messages/usage.js';
import type { Judgement } from '../../../shared/messages/verdicts.js';
import type { WindowEmission } from '../../../shared/messages/window-emission.js';
import { connectPostgres } from '../../../shared/postgres/connect.js';
import { sinkUrl } from '../../../shared/postgres/database-url.js';
import { migrate } from '../../../shared/postgres/migrate.js';
import { testPostgres } from '../../support/hooks.js';

export const WINDOW_MS = 30_000;
/** A full window, and a time on a day that `migrate` makes no partition for. */
export const T0 = Date.UTC(2026, 0, 15, 10, 0, 0);
const DIMENSIONS_MAX = 3;

/** What the archive told, by name: `refused` 1, … */
export class ToldMetrics implements ArchiveMetrics {
  readonly told: (readonly [name: keyof ArchiveMetrics, ...values: unknown[]])[] = [];

  wrote(rows: number, windows: number): void {
    this.told.push(['wrote', rows, windows]);
  }
  corrected(windows: number): void {
    this.told.push(['corrected', windows]);
  }
  refused(events: number): void {
    this.told.push(['refused', events]);
  }
  skipped(events: number): void {
    this.told.push(['skipped', events]);
  }
  windowsRefused(windows: number): void {
    this.told.push(['windowsRefused', windows]);
  }
  ahead(stream: string): void {
    this.told.push(['ahead', stream]);
  }
  behind(stream: string): void {
    this.told.push(['behind', stream]);
  }

  of(name: keyof ArchiveMetrics): unknown[] {
    return this.told.filter(([told]) => told === name).map(([, ...values]) => values[0]);
  }
}

/** A migrated database, and archives that write to it as the sink does. */
export class ArchiveUnderTest {
  private readonly pools: pg.Pool[] = [];
  readonly metrics = new ToldMetrics();

  private constructor(
    readonly url: string,
    readonly owner: pg.Pool,
  ) {}

  static async start(url?: string): Promise<ArchiveUnderTest> {
    const database = url ?? (await (await testPostgres()).createDatabase());
    const log = createLogger('test', 'silent');
    await migrate(database, log, { waitMs: 10_000 });
    const owner = connectPostgres({ url: database, name: 'test', log, poolMax: 2 });
    return new ArchiveUnderTest(database, owner);
  }

  /** Each has a connection pool and a memory of its own, as a worker process has. */
  archive(options: Partial<PostgresArchiveOptions> = {}): PostgresArchive {
    const log = createLogger('test', 'silent');
    const settings = { windowMs: WINDOW_MS, dimensionsMax: DIMENSIONS_MAX };
    return new PostgresArchive({ pool: this.sinkPool(), settings, log, metrics: this.metrics, ...options });
  }

  sinkPool(): pg.Pool {
    const log = createLogger('test', 'silent');
    const pool = connectPostgres({ url: sinkUrl(this.url), name: 'test-sink', log, poolMax: 2 });
    this.pools.push(pool);
    return pool;
  }

  /** As the owner, who is a superuser here: row level security does not bind it. */
  async query<Row extends pg.QueryResultRow>(text: string, values: readonly unknown[] = []): Promise<Row[]> {
    return (await this.owner.query<Row>(text, [...values])).rows;
  }

  /** `1-0:2 id status revision`: place in ms after T0, in the order of the stream. */
  async rows(): Promise<string[]> {
    const rows = await this.query<{ row: string }>(
      `SELECT format('%s-%s:%s %s %s %s', (extract(epoch FROM accepted_at) * 1000)::bigint - $1::bigint, entry_seq,
         message_index, event_id, status, window_revision) AS row
       FROM usage_events ORDER BY partition, accepted_at, entry_seq, message_index`,
      [T0],
    );
    return rows.map(({ row }) => row);
  }

  /** `customer +window status revision: calls/tokens late`: windows after T0. */
  async windows(): Promise<string[]> {
    const rows = await this.query<{ window: string }>(
      `SELECT format('%s %s %s %s: %s/%s %s', external_id,
         ((extract(epoch FROM window_start) * 1000)::bigint - $1::bigint) / $2::bigint, status, revision,
         total_calls, total_tokens, late_events) AS window
       FROM aggregation_windows w JOIN customers c ON c.id = w.customer_id ORDER BY external_id, window_start`,
      [T0, WINDOW_MS],
    );
    return rows.map(({ window }) => window);
  }

  async close(): Promise<void> {
    await Promise.all([...this.pools, this.owner].map((pool) => pool.end()));
  }
}

export interface EventOptions {
  readonly tenant?: string | undefined;
  readonly customer?: string;
  readonly type?: string;
  /** After T0, ms. */
  readonly at?: number;
  readonly data?: unknown;
  readonly revision?: number;
  readonly source?: string;
}

/** One partition of the topic as the engine hands it to the archive: outbox entries, each with what it judges. */
export class JudgedStream {
  private readonly entries: { readonly id: string; events: JudgedEvent[]; windows: ArchivedWindow[] }[] = [];

  constructor(
    readonly index = 0,
    /** ms after T0. */
    private now = 0,
  ) {}

  /** Appends a stream entry, and the outbox entry that judges its messages. */
  judge(...messages: readonly (readonly [id: string, judgement: Judgement, options?: EventOptions])[]): this {
    this.now += 1;
    const entry = `${T0 + this.now}-0`;
    const outbox = `${T0 + this.now}-1`;
    const events = messages.map(([id, judgement, options = {}], index): JudgedEvent => {
      const { tenant = 't', customer = 'c', type = 'usage', at = 0, data = DATA, source } = options;
      const revision = options.revision ?? (judgement === 'accepted' ? 1 : 0);
      const message = { type, subject: customer, id, timestamp: T0 + at, data };
      const hasTenant = !('tenant' in options && options.tenant === undefined);
      return {
        outbox,
        entry,
        index,
        judgement,
        revision,
        message: { ...message, ...(hasTenant && { tenant }), ...(source !== undefined && { source }) },
      };
    });
    this.entries.push({ id: outbox, events, windows: [] });
    return this;
  }

  /** Appends the outbox entry of a window. */
  emit(window: Partial<WindowEmission>): this {
    this.now += 1;
    const outbox = `${T0 + this.now}-0`;
    this.entries.push({ id: outbox, events: [], windows: [{ outbox, emission: emission(window) }] });
    return this;
  }

  get length(): number {
    return this.entries.length;
  }

  /** Id of the outbox entry, or of where the outbox begins. */
  outboxId(count: number): string {
    return this.entries[count - 1]?.id ?? FIRST_POSITION;
  }

  /** Outbox entries from one to the other, as the drain cuts them out. */
  batch(from = 0, to = this.entries.length): ArchiveBatch {
    const entries = this.entries.slice(from, to);
    const events = entries.flatMap((entry) => entry.events);
    return {
      partition: { topic: 'usage', index: this.index },
      events,
      windows: entries.flatMap(({ windows }) => windows),
      from: this.outboxId(from),
      to: this.outboxId(to),
      position: events.at(-1)?.entry ?? FIRST_POSITION,
    };
  }
}

const DATA: UsageData = ['/e', 10, 4, 6, 'm', 1000];

export function emission(window: Partial<WindowEmission>): WindowEmission {
  const start = window.start ?? T0;
  return {
    ...{ tenant: 't', customer: 'c', start, end: start + WINDOW_MS, status: 'closed', revision: 1 },
    ...{ emission: 1, at: start + WINDOW_MS, asOf: [`${T0 + 1}-0`, 0] },
    ...{
      calls: 1,
      tokens: 10,
      inputTokens: 4,
      outputTokens: 6,
      latencyCount: 1,
      latencySumUs: 1000,
      late: 0,
    },
    ...{ endpoints: [['/e', 1, 10]], models: [['m', 1, 10]], latency: [349, 1] },
    ...window,
  };
}
