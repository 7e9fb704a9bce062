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

/** In the order of the first of each group. */
export function groupBy<K, T>(items: readonly T[], keyOf: (item: T) => K): Map<K, T[]> {
  const groups = new Map<K, T[]>();
  for (const item of items) {
    const key = keyOf(item);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [item]);
    else group.push(item);
  }
  return groups;
}

export function byTenant<T extends { readonly tenant: string }>(items: readonly T[]): Map<string, T[]> {
  return groupBy(items, ({ tenant }) => tenant);
}
