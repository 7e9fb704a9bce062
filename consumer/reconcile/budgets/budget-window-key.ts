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

/** Groups by tenant, in the order of their first. */
export function byTenant<T extends { readonly tenant: string }>(items: readonly T[]): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const group = groups.get(item.tenant);
    if (group === undefined) groups.set(item.tenant, [item]);
    else group.push(item);
  }
  return groups;
}
