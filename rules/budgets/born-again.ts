import type { BudgetConfig } from '../../shared/state/budget-config.js';
import type { BudgetState } from '../../shared/state/budget-state.js';

/** A ledger without a use is kept this long after the last thing that referred to it, ms: a reader may be behind. */
export const FORGET_AFTER_MS = 86_400_000;

/** What is known of a tenant that nothing was used of yet. `at`: ms since the epoch, the beginning of its ledger. */
export function newState(at: number, config: BudgetConfig | null, step: object | undefined): BudgetState {
  const keepUntil = at + FORGET_AFTER_MS;
  return { owner: step, config, epoch: at, entries: 0, lastEnd: 0, pastHolds: 0, keepUntil, window: null };
}

/** How a partition begins whose tenants' budgets are known from elsewhere: nothing used, nothing held. */
export function budgetsBornAgain(
  at: number,
  configs: readonly (readonly [tenant: string, config: BudgetConfig])[],
): readonly (readonly [tenant: string, state: BudgetState])[] {
  return configs.map(([tenant, config]) => [tenant, newState(at, config, undefined)]);
}

/** When a tenant's ledger may be forgotten, ms; undefined: not as things are. */
export function budgetExpiresAt({ config, window, pastHolds, keepUntil }: BudgetState): number | undefined {
  return config === null && window === null && pastHolds === 0 ? keepUntil : undefined;
}

/** The state, unless it is forgotten by then: whether it still lies somewhere makes no difference. */
export function rememberedState(state: BudgetState | null, at: number): BudgetState | null {
  const until = state === null ? undefined : budgetExpiresAt(state);
  return until !== undefined && at >= until ? null : state;
}
