import type pg from 'pg';
import type { Logger } from '../shared/logging.js';
import type { BudgetConfig } from '../shared/state/budget-config.js';
import { type Partition, partitionOf } from '../shared/topics.js';
import type { Memory, Recalled } from './engine/memory.js';
import { budgetsOf, configOf, logBroken, newestBudgets } from './stored-budgets.js';

/** One partition begins with so many at most; `heal-budgets` brings the rest. */
const TENANTS_MAX = 10_000;

/**
 * The budgets that Postgres has of the tenants of a partition, so that after a loss of Redis nobody is decided by the
 * defaults who has budgets of their own.
 */
export class BudgetMemory implements Memory {
  /** @param pool of the role weir_sink */
  constructor(
    private readonly pool: pg.Pool,
    private readonly partitions: number,
    private readonly log: Logger,
  ) {}

  async recall({ index }: Partition): Promise<Recalled | undefined> {
    const client = await this.pool.connect();
    let failure: Error | undefined;
    try {
      const what: [tenant: string, config: BudgetConfig][] = [];
      for await (const some of newestBudgets(client)) {
        for (const { tenant } of some) {
          if (partitionOf(tenant, tenant, this.partitions) !== index || what.length >= TENANTS_MAX) continue;
          what.push([tenant, await this.configOf(client, tenant)]);
        }
      }
      // What a migration has seeded was applied at 0: nobody has decided by it yet.
      const isLoss = what.some(([, { appliedAt, unsound }]) => appliedAt > 0 || unsound === true);
      return what.length === 0 ? undefined : { what, isLoss };
    } catch (error) {
      failure = error as Error;
      throw error;
    } finally {
      client.release(failure);
    }
  }

  private async configOf(client: pg.ClientBase, tenant: string): Promise<BudgetConfig> {
    const found = await budgetsOf(client, tenant);
    if (found.broken.length > 0 || found.sound === undefined) logBroken(this.log, tenant, found);
    return configOf(found);
  }
}
