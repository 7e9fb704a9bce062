import { Redis } from 'ioredis';
import type pg from 'pg';
import type { ArchivedWindow, JudgedEvent } from '../../../consumer/engine/archive.js';
import { FIRST_POSITION } from '../../../consumer/engine/head.js';
import { type FullOptions, reconcileAll } from '../../../consumer/reconcile/full-run.js';
import { type RecentOptions, reconcileRecent } from '../../../consumer/reconcile/recent-run.js';
import type { RecentState } from '../../../consumer/reconcile/recent-state.js';
import { Keys } from '../../../shared/keys.js';
import type { Difference, Reconciliation } from '../../../shared/reconciliation/reconciliation.js';
import { testNamespace, testRedis } from '../../support/hooks.js';
import { MeteringPartition, SETTINGS } from '../../unit/rules/metering-partition.js';
import { type UsageDraw, usage } from '../../unit/rules/usage-events.js';
import { ArchiveUnderTest } from '../archive/archive-under-test.js';

export const { windowMs: WINDOW_MS, latenessMs: LATENESS_MS } = SETTINGS;
/** A full window; on a day that `migrate` makes no partition for. */
export const T0 = Date.UTC(2026, 0, 15, 10, 0, 0);
const PARTITION = 0;

type OutboxRecord = Omit<JudgedEvent, 'outbox'> | Omit<ArchivedWindow, 'outbox'>;

/**
 * Usage folded by the real rules, archived by the real sink and stored as the engine stores it, but at times that the
 * test tells: one partition, no engine, no waiting.
 */
export class ReconcileUnderTest {
  readonly keys = new Keys(testNamespace());
  readonly redis = new Redis(testRedis().url);
  readonly folded = new MeteringPartition({ ...SETTINGS, dimensionsMax: 2 });
  /** In commit order: the verdict of a step before its windows. */
  private readonly outbox: OutboxRecord[] = [];
  private archived = 0;

  private constructor(
    readonly postgres: ArchiveUnderTest,
    private readonly pool: pg.Pool,
  ) {}

  static async start(): Promise<ReconcileUnderTest> {
    const postgres = await ArchiveUnderTest.start();
    return new ReconcileUnderTest(postgres, postgres.sinkPool());
  }

  /** Folds an event that comes at `at` (after T0, ms) and happened then or at `timestamp`. */
  count(at: number, draw: Partial<UsageDraw> = {}): this {
    return this.countTogether([{ ...draw, at }]);
  }

  /** Folds events in one step. */
  countTogether(events: readonly (Partial<UsageDraw> & { readonly at: number })[]): this {
    const inputs = events.map(({ at, ...draw }) => ({
      kind: 'usage' as const,
      at: T0 + at,
      event: usage({ ...draw, timestamp: T0 + (draw.timestamp ?? at) }),
    }));
    this.commit(() => this.folded.run(inputs));
    return this;
  }

  /** Nothing comes until then but what timers do. */
  idle(at: number): this {
    this.commit(() => this.folded.idle(T0 + at));
    return this;
  }

  /** Outbox entries that Postgres does not have yet. */
  get unarchived(): number {
    return this.outbox.length - this.archived;
  }

  /** Writes the next entries of the outbox to Postgres. */
  async archive(entries = Infinity): Promise<this> {
    const from = this.archived;
    const to = Math.min(this.outbox.length, from + entries);
    const events: JudgedEvent[] = [];
    const windows: ArchivedWindow[] = [];
    for (let i = from; i < to; i += 1) {
      const record = this.outbox[i]!;
      const outbox = outboxId(i + 1);
      if ('emission' in record) windows.push({ outbox, emission: record.emission });
      else events.push({ outbox, ...record });
    }
    const judged = this.outbox.slice(0, to).flatMap((record) => ('entry' in record ? [record] : []));
    await this.postgres.archive().write({
      ...{ partition: { topic: 'usage', index: PARTITION }, events, windows },
      ...{ from: outboxId(from), to: outboxId(to), position: judged.at(-1)?.entry ?? FIRST_POSITION },
    });
    this.archived = to;
    return this;
  }

  /** Stores what the last commit left in Redis: the windows, the head, where the outbox ends. */
  async store(): Promise<this> {
    const partition = this.keys.partition({ topic: 'usage', index: PARTITION });
    // All at once, as a commit: a comparison may be under way.
    const commit = this.redis.multi();
    for (const name of this.folded.documentNames('window:')) {
      commit.set(this.documentKey(name), this.folded.text(name)!);
    }
    commit.hset(partition.head, 'at', this.folded.now).del(partition.outbox);
    await commit.xadd(partition.outbox, outboxId(this.outbox.length), 'type', 'test').exec();
    return this;
  }

  documentKey(name: string): string {
    return this.keys.partition({ topic: 'usage', index: PARTITION }).doc(name);
  }

  /** Changes a field of a stored document. */
  async tamper(name: string, change: (document: Record<string, unknown>) => void): Promise<void> {
    const key = this.documentKey(name);
    const document = JSON.parse((await this.redis.get(key))!) as Record<string, unknown>;
    change(document);
    await this.redis.set(key, JSON.stringify(document));
  }

  full(options: Partial<FullOptions> = {}): Promise<Reconciliation> {
    return reconcileAll({ ...this.options(), sinceMs: 0, statementMsMax: 20_000, patienceMs: 0, ...options });
  }

  recent(
    before: RecentState = { verified: new Map(), suspects: [] },
    options: Partial<RecentOptions> = {},
  ): Promise<{ readonly result: Reconciliation; readonly state: RecentState }> {
    return reconcileRecent({ ...this.options(), runMsMax: 4000, ...options }, before);
  }

  async close(): Promise<void> {
    this.redis.disconnect();
    await this.postgres.close();
  }

  private options() {
    const { redis, keys, pool } = this;
    const { signal } = new AbortController();
    return { redis, keys, pool, signal, times: SETTINGS, onDifference: () => undefined };
  }

  /** The simulation gives the n-th message the entry `<at>-<n>` and the index n % 7. */
  private commit(step: () => unknown): void {
    const { counted } = this.folded;
    const [events, windows] = [counted.length, this.folded.emissions().length];
    step();
    for (let i = events; i < counted.length; i += 1) {
      const { event: message, at, verdict: judgement, revision } = counted[i]!;
      this.outbox.push({ entry: `${at}-${i + 1}`, index: (i + 1) % 7, judgement, revision, message });
    }
    for (const emission of this.folded.emissions().slice(windows)) this.outbox.push({ emission });
  }
}

/** `field: hot/closed/raw` of each difference, by window. */
export function shown(differences: readonly Difference[]): Record<string, string[]> {
  const byWindow: Record<string, string[]> = {};
  for (const { tenant, customer, windowStart, field, hot, closed, raw } of differences) {
    const window = `${tenant} ${customer} +${(Date.parse(windowStart) - T0) / WINDOW_MS}`;
    byWindow[window] ??= [];
    byWindow[window].push(`${field}: ${hot ?? '-'}/${closed ?? '-'}/${raw ?? '-'}`);
  }
  return byWindow;
}

function outboxId(n: number): string {
  return n === 0 ? FIRST_POSITION : `${T0 + n}-0`;
}
