import { groupBy } from '../../../shared/group-by.js';

/** Which window of a tenant's budgets; the same one in Redis, in `budget_windows` and in `budget_ledger`. */
export interface BudgetWindowKey {
  readonly tenant: string;
  /** Of the tenant's ledger; undefined: of the one that Redis has. */
  readonly epoch: number | undefined;
  /** ms since the epoch. */
  readonly start: number;
}

/** A tenant holds no `:`. */
export function budgetKeyText({ tenant, epoch, start }: BudgetWindowKey): string {
  return `${tenant}:${epoch ?? ''}:${start}`;
}

export function byTenant<T extends { readonly tenant: string }>(items: readonly T[]): Map<string, T[]> {
  return groupBy(items, ({ tenant }) => tenant);
}
