/** Timers of the topic `admissions`. */
export type BudgetTimer =
  | { readonly kind: 'reset'; readonly tenant: string }
  | { readonly kind: 'hold'; readonly tenant: string; readonly key: string };

/**
 * Reads `reset:<tenant>` and `admission:<tenant>:<key>`.
 * @throws for a timer that is neither
 */
export function parseBudgetTimer(id: string): BudgetTimer {
  const [kind, tenant, key, more] = id.split(':');
  if (tenant !== undefined && tenant !== '') {
    if (kind === 'reset' && key === undefined) return { kind: 'reset', tenant };
    if (kind === 'admission' && key !== undefined && key !== '' && more === undefined) {
      return { kind: 'hold', tenant, key };
    }
  }
  throw new Error(`unknown timer ${id.slice(0, 200)}`);
}
