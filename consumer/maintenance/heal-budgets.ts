import type { Redis } from 'ioredis';
import type pg from 'pg';
import { append, UNBOUNDED } from '../../shared/append/append.js';
import { groupBy } from '../../shared/group-by.js';
import { CONFIGURED_INDEX, type Keys } from '../../shared/keys.js';
import type { Logger } from '../../shared/logging.js';
import { BUDGETS_PUT, type BudgetsPut } from '../../shared/messages/admissions.js';
import type { Message } from '../../shared/messages/message.js';
import { partitionOf } from '../../shared/topics.js';
import {
  budgetsOf,
  configOf,
  defectsOf,
  type NewestBudgets,
  newestBudgets,
  type StoredBudgets,
} from '../stored-budgets.js';
import { withClient } from './abortable-client.js';
import type { FleetTask } from './fleet-schedule.js';

const INTERVAL_MS = 5000;
/** The others wait for the next run. */
const RESTORED_PER_RUN_MAX = 500;

export interface HealBudgetsOptions {
  readonly redis: Redis;
  readonly keys: Keys;
  /** Of the role weir_sink. */
  readonly pool: pg.Pool;
  readonly log: Logger;
  /** Partitions of the topic. */
  readonly partitions: number;
}

/** How far a partition is. */
interface Progress {
  /** Messages ever appended, and ever dealt with. */
  readonly appended: number;
  readonly folded: number;
}

/**
 * Brings budgets from Postgres to Redis: what a migration has seeded, and what a Redis that was lost has forgotten. The
 * newest version of each tenant is compared with what its partition has applied (an index), and appended to its stream where that
 * is older or nothing; the fold applies it only if it is newer, so that a change made meanwhile stays.
 */
export function healBudgets(options: HealBudgetsOptions): FleetTask {
  const healer = new BudgetHealer(options);
  return { name: 'heal-budgets', intervalMs: INTERVAL_MS, run: (signal) => healer.run(signal) };
}

class BudgetHealer {
  /** Partition → messages it has to deal with before what was sent there can be known: until then nothing is sent again. */
  private readonly sentUpTo = new Map<number, number>();
  /** Tenants whose stored budgets were found to be wrong, and which: told once. */
  private readonly told = new Map<string, number>();

  constructor(private readonly options: HealBudgetsOptions) {}

  /** @returns undefined when nothing was to be done */
  async run(signal: AbortSignal): Promise<{ readonly restored: number } | undefined> {
    // Before the index: what was dealt with by then is in it.
    const progress = await this.readProgress();
    const restored = await withClient(this.options.pool, signal, async (client) => {
      const missing: StoredBudgets[] = [];
      for await (const some of newestBudgets(client)) {
        const applied = await this.readApplied(some);
        for (const { tenant, appliedAt } of some) {
          if ((applied.get(tenant) ?? -1) >= appliedAt || this.isAwaited(tenant, progress)) continue;
          const budgets = await budgetsOf(client, tenant);
          if (budgets !== undefined && this.isRight(budgets)) missing.push(budgets);
          if (missing.length === RESTORED_PER_RUN_MAX) return missing;
        }
      }
      return missing;
    });
    for (const budgets of restored) {
      signal.throwIfAborted();
      await this.send(budgets);
    }
    for (const partition of new Set(restored.map(({ tenant }) => this.partitionOf(tenant)))) {
      this.sentUpTo.set(partition, await this.appended(partition));
    }
    return restored.length === 0 ? undefined : { restored: restored.length };
  }

  private partitionOf(tenant: string): number {
    return partitionOf(tenant, tenant, this.options.partitions);
  }

  private keysOf(partition: number) {
    return this.options.keys.partition({ topic: 'admissions', index: partition });
  }

  /** When the budgets of these tenants were applied, ms; of those that have none there is nothing. */
  private async readApplied(some: readonly NewestBudgets[]): Promise<ReadonlyMap<string, number>> {
    const applied = new Map<string, number>();
    const read = async ([partition, tenants]: [number, string[]]): Promise<void> => {
      const key = this.keysOf(partition).index(CONFIGURED_INDEX);
      const scores = await this.options.redis.zmscore(key, ...tenants);
      for (const [n, tenant] of tenants.entries()) {
        const score = scores[n] ?? null;
        if (score !== null) applied.set(tenant, Number(score));
      }
    };
    const tenants = some.map(({ tenant }) => tenant);
    await Promise.all([...groupBy(tenants, (tenant) => this.partitionOf(tenant))].map(read));
    return applied;
  }

  private readProgress(): Promise<readonly Progress[]> {
    const { redis, partitions } = this.options;
    return Promise.all(
      Array.from({ length: partitions }, async (_, index) => {
        const keys = this.keysOf(index);
        const [appended, folded] = await Promise.all([this.appended(index), redis.hget(keys.head, 'folded')]);
        return { appended, folded: Number(folded ?? 0) };
      }),
    );
  }

  private async appended(partition: number): Promise<number> {
    return Number((await this.options.redis.get(this.keysOf(partition).appended)) ?? 0);
  }

  /** What was sent may still wait in the stream, unless Redis has lost it: then fewer were appended than were then. */
  private isAwaited(tenant: string, progress: readonly Progress[]): boolean {
    const partition = this.partitionOf(tenant);
    const { appended, folded } = progress[partition]!;
    const sentUpTo = this.sentUpTo.get(partition) ?? 0;
    return folded < sentUpTo && sentUpTo <= appended;
  }

  private isRight(stored: StoredBudgets): boolean {
    const { tenant, appliedAt } = stored;
    const defects = defectsOf(stored);
    if (defects.length === 0) return true;
    if (this.told.get(tenant) !== appliedAt) {
      this.options.log.error({ tenant, appliedAt, defects }, 'budgets in Postgres are wrong');
      this.told.set(tenant, appliedAt);
    }
    return false;
  }

  private async send(stored: StoredBudgets): Promise<void> {
    const { tenant, appliedAt, version, actor, reason } = stored;
    const { redis, log } = this.options;
    const message: Message<BudgetsPut> = {
      type: BUDGETS_PUT,
      tenant,
      subject: tenant,
      id: `restored-${appliedAt}-${version}`,
      data: { config: configOf(stored), restored: true, actor, reason },
    };
    await append(redis, this.keysOf(this.partitionOf(tenant)), [[JSON.stringify(message)]], UNBOUNDED);
    log.info({ tenant, version, appliedAt }, 'budgets restored from Postgres');
  }
}
