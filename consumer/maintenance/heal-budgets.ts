import type { Redis } from 'ioredis';
import type pg from 'pg';
import { Gauge, type Registry } from 'prom-client';
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
  type FoundBudgets,
  logBroken,
  type NewestBudgets,
  newestBudgets,
} from '../stored-budgets.js';
import { withClient } from './abortable-client.js';
import type { FleetTask } from './fleet-schedule.js';

const INTERVAL_MS = 5000;
/** Who has not run the task for so long is not the one that runs it. */
const FRESH_MS = 4 * INTERVAL_MS;
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
  readonly registry: Registry;
}

/** Budgets of a tenant that Redis is to have. */
interface Missing extends FoundBudgets {
  readonly tenant: string;
}

/** After so many runs that had nothing to do, and after the first, all that is stored is looked at: about every 5 minutes. */
const RUNS_PER_SWEEP = 60;

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
  /** Tenants whose newest budgets are broken, and when those were applied: told once. */
  private readonly broken = new Map<string, number | null>();
  private idleRuns = 0;
  private ranAtMs = 0;

  constructor(private readonly options: HealBudgetsOptions) {
    const count = (): number => (Date.now() - this.ranAtMs < FRESH_MS ? this.broken.size : 0);
    new Gauge({
      name: 'weir_broken_budgets',
      help: 'Tenants whose newest budgets in Postgres cannot be used, as the worker knows that runs heal-budgets; 0 elsewhere.',
      registers: [options.registry],
      collect() {
        this.set(count());
      },
    });
  }

  /** @returns undefined when nothing was to be done */
  async run(signal: AbortSignal): Promise<{ readonly restored: number } | undefined> {
    // Before the index: what was dealt with by then is in it.
    const progress = await this.readProgress();
    const isSweep = this.idleRuns % RUNS_PER_SWEEP === 1;
    const restored = await withClient(this.options.pool, signal, async (client) => {
      const missing: Missing[] = [];
      for await (const some of newestBudgets(client)) {
        const applied = await this.readApplied(some);
        for (const newest of some) {
          const { tenant } = newest;
          const known = applied.get(tenant) ?? -1;
          const isThere = known >= (newest.appliedAt ?? Number.POSITIVE_INFINITY);
          if (this.isMended(newest)) this.broken.delete(tenant);
          const waits = this.isAwaited(tenant, progress);
          if ((isThere || waits) && !isSweep && !this.broken.has(tenant)) continue;
          const found = await budgetsOf(client, tenant);
          this.note(newest, found);
          if (waits || known >= (found.sound?.appliedAt ?? 0)) continue;
          missing.push({ tenant, ...found });
          if (missing.length === RESTORED_PER_RUN_MAX) return missing;
        }
      }
      return missing;
    });
    if (restored.length === 0) this.idleRuns += 1;
    this.ranAtMs = Date.now();
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

  /** A version came after the one that was found to be broken. */
  private isMended({ tenant, appliedAt }: NewestBudgets): boolean {
    return this.broken.has(tenant) && this.broken.get(tenant) !== appliedAt;
  }

  private note({ tenant, appliedAt }: NewestBudgets, found: FoundBudgets): void {
    if (found.sound !== undefined && found.broken.length === 0) this.broken.delete(tenant);
    else if (!this.broken.has(tenant)) {
      this.broken.set(tenant, appliedAt);
      logBroken(this.options.log, tenant, found);
    }
  }

  private async send({ tenant, ...found }: Missing): Promise<void> {
    const config = configOf(found);
    const { appliedAt, version } = config;
    const { actor, reason } = found.sound ?? { actor: 'weir', reason: 'what is stored cannot be used' };
    const { redis, log } = this.options;
    const message: Message<BudgetsPut> = {
      type: BUDGETS_PUT,
      tenant,
      subject: tenant,
      id: `restored-${appliedAt}-${version}`,
      data: { config, restored: true, actor, reason },
    };
    await append(redis, this.keysOf(this.partitionOf(tenant)), [[JSON.stringify(message)]], UNBOUNDED);
    // What the migrations put there is sent once, and was never lost.
    log[appliedAt === 0 ? 'debug' : 'info']({ tenant, version, appliedAt }, 'budgets restored from Postgres');
  }
}
