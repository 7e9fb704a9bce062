import { Redis } from 'ioredis';
import type pg from 'pg';
import { FIRST_POSITION } from '../../../consumer/engine/head.js';
import type { OutboxEntry } from '../../../consumer/engine/outbox-drain.js';
import {
  type FullBudgetOptions,
  reconcileAllBudgets,
} from '../../../consumer/reconcile/budgets/full-budgets.js';
import { HotBudgetReader } from '../../../consumer/reconcile/budgets/hot-budgets.js';
import {
  NEW_STATE,
  type RecentBudgetState,
} from '../../../consumer/reconcile/budgets/recent-budget-state.js';
import {
  type RecentBudgetOptions,
  reconcileRecentBudgets,
} from '../../../consumer/reconcile/budgets/recent-budgets.js';
import { SinkProgress } from '../../../consumer/reconcile/budgets/sink-progress.js';
import { BudgetHistory } from '../../../consumer/sinks/budget-history.js';
import type { BudgetSettings } from '../../../shared/budget-settings.js';
import { Keys, type PartitionKeys } from '../../../shared/keys.js';
import { createLogger } from '../../../shared/logging.js';
import type {
  BudgetDifference,
  BudgetReconciliation,
} from '../../../shared/reconciliation/budget-reconciliation.js';
import { testNamespace, testRedis } from '../../support/hooks.js';
import { NOON } from '../../unit/rules/budget-asking.js';
import { BudgetPartition, SETTINGS } from '../../unit/rules/budget-partition.js';
import { ArchiveUnderTest } from '../archive/archive-under-test.js';

export const WINDOW_MS = SETTINGS.windowMs;
/** All tenants are in one partition. */
const PARTITIONS = 1;

/**
 * Budgets folded by the real rules, written by the real sink and stored as the engine stores them, but at times that the
 * test tells: one partition, no engine, no waiting.
 */
export class BudgetsUnderTest {
  readonly keys = new Keys(testNamespace());
  readonly redis = new Redis(testRedis().url);
  readonly differences: BudgetDifference[] = [];
  private readonly partition: PartitionKeys;
  private readonly history: BudgetHistory;
  private stored = new Set<string>();
  private archived = 0;

  private constructor(
    readonly postgres: ArchiveUnderTest,
    readonly pool: pg.Pool,
    readonly folded: BudgetPartition,
  ) {
    this.partition = this.keys.partition({ topic: 'admissions', index: 0 });
    this.history = new BudgetHistory(pool, createLogger('test', 'silent'));
  }

  static async start(settings: BudgetSettings = SETTINGS): Promise<BudgetsUnderTest> {
    const postgres = await ArchiveUnderTest.start();
    return new BudgetsUnderTest(postgres, postgres.sinkPool(), new BudgetPartition(settings));
  }

  /** Stores in Redis what was folded, as one commit does. */
  async store(): Promise<this> {
    const texts = Object.entries(this.folded.texts()).map(
      ([name, text]) => [name.slice(0, -1), text] as const,
    );
    const commit = this.redis.multi();
    for (const [name, text] of texts) commit.set(this.partition.doc(name), text);
    const names = new Set(texts.map(([name]) => name));
    for (const name of this.stored) if (!names.has(name)) commit.del(this.partition.doc(name));
    commit.del(this.partition.timers);
    for (const [id, dueAt] of this.folded.timers) commit.zadd(this.partition.timers, dueAt, id);
    commit.hset(this.partition.head, 'at', this.folded.now).del(this.partition.outbox);
    const last = this.outbox().length;
    if (last > 0) commit.xadd(this.partition.outbox, outboxId(last), 'type', 'test');
    await commit.exec();
    this.stored = names;
    return this;
  }

  /** Writes the next entries of the outbox to Postgres, and notes how far it came. */
  async archive(entries = Infinity): Promise<this> {
    const outbox = this.outbox();
    const to = Math.min(outbox.length, this.archived + entries);
    await this.history.write('admissions.0', outbox.slice(this.archived, to));
    this.archived = to;
    await this.redis.hset(this.partition.sinks, this.history.name, outboxId(to));
    return this;
  }

  /** Both, in the usual order. */
  async commit(): Promise<this> {
    await this.store();
    return this.archive();
  }

  /** Outbox entries that Postgres does not have yet. */
  get unarchived(): number {
    return this.outbox().length - this.archived;
  }

  documentKey(name: string): string {
    return this.partition.doc(name);
  }

  get timersKey(): string {
    return this.partition.timers;
  }

  /** Changes the text of a stored document. @throws when there is nothing to change */
  async tamper(name: string, from: string, to: string): Promise<void> {
    const key = this.documentKey(name);
    const text = (await this.redis.get(key))!;
    if (!text.includes(from)) throw new Error(`${from} is not in ${text}`);
    await this.redis.set(key, text.replace(from, to));
  }

  /** Takes a stored timer away. @throws when there is none */
  async removeTimer(id: string): Promise<void> {
    if ((await this.redis.zrem(this.partition.timers, id)) === 0) throw new Error(`no timer ${id}`);
  }

  /** Moves a stored timer, ms. @throws when there is none */
  async moveTimer(id: string, dueAt: number): Promise<void> {
    if ((await this.redis.zadd(this.partition.timers, 'XX', 'CH', dueAt, id)) === 0)
      throw new Error(`no timer ${id}`);
  }

  async full(options: Partial<FullBudgetOptions> = {}): Promise<Omit<BudgetReconciliation, 'at'>> {
    const { at: _at, ...result } = await reconcileAllBudgets({ ...this.options(), sinceMs: 0, ...options });
    return result;
  }

  async recent(
    before: RecentBudgetState = NEW_STATE,
    options: Partial<RecentBudgetOptions> = {},
  ): Promise<{ readonly result: Omit<BudgetReconciliation, 'at'>; readonly state: RecentBudgetState }> {
    const { result, state } = await reconcileRecentBudgets(
      { ...this.options(), runMsMax: 4000, ...options },
      before,
    );
    const { at: _at, ...rest } = result;
    return { result: rest, state };
  }

  async close(): Promise<void> {
    this.redis.disconnect();
    await this.postgres.close();
  }

  private outbox(): OutboxEntry[] {
    const emitted = this.folded.effects.flatMap((effect) => (effect.kind === 'emit' ? [effect] : []));
    return emitted.map(({ type, body, joins }, i) => ({
      ...{ id: outboxId(i + 1), type, body: joins === true ? [body] : body },
    }));
  }

  private options() {
    const { redis, keys, pool } = this;
    const { signal } = new AbortController();
    return {
      ...{ pool, signal, statementMsMax: 20_000 },
      hot: new HotBudgetReader(redis, keys, PARTITIONS),
      progress: new SinkProgress(redis, keys, 0, signal),
      onDifference: (difference: BudgetDifference) => this.differences.push(difference),
    };
  }
}

/** `tenant +window level admission place field: expected/found`, sorted. */
export function shown(differences: readonly BudgetDifference[]): string[] {
  return differences
    .map(({ tenant, window, level, admission, place, field, expected, found }) => {
      const at = window === undefined ? undefined : `+${(Date.parse(window) - NOON) / WINDOW_MS}`;
      const about = [tenant, at, level, admission, place, field].filter((each) => each !== undefined);
      return `${about.join(' ')}: ${expected}/${found}`;
    })
    .sort();
}

function outboxId(n: number): string {
  return n === 0 ? FIRST_POSITION : `${NOON + n}-0`;
}
