import type { BudgetConfig } from '../../shared/state/budget-config.js';
import type { BudgetState, BudgetsPartition } from '../../shared/state/budget-state.js';

/** What is known of a tenant that nothing was used of yet. `at`: ms since the epoch, the beginning of its ledger. */
export function newState(at: number, config: BudgetConfig | null, step: object | undefined): BudgetState {
  return { owner: step, config, epoch: at, entries: 0, lastEnd: 0, window: null };
}

/** How a partition begins whose tenants' budgets are known from elsewhere: nothing used, nothing held. */
export function budgetsBornAgain(
  at: number,
  configs: readonly (readonly [tenant: string, config: BudgetConfig])[],
): { readonly states: readonly (readonly [string, BudgetState])[]; readonly partition: BudgetsPartition } {
  return {
    states: configs.map(([tenant, config]) => [tenant, newState(at, config, undefined)]),
    partition: { configured: new Map(configs.map(([tenant, { appliedAt }]) => [tenant, appliedAt])) },
  };
}
