import type { Config } from './config.js';

/** What the fold of budgets is configured with. Changes with a restart, so no two folds need have had the same. */
export interface BudgetSettings {
  /** BUDGET_WINDOW_SECONDS: where a tenant's configuration does not say otherwise. */
  readonly windowMs: number;
  /** HOLD_SECONDS; null: the length of the window. */
  readonly holdMs: number | null;
  /** HOLD_EXPIRY. */
  readonly holdExpiry: 'release' | 'charge';
  /** ADMISSION_KEEP_SECONDS: an admission that has ended is readable for this long. */
  readonly keepMs: number;
  /** ADMISSION_DEDUPE_SECONDS. */
  readonly dedupeMs: number;
}

export function budgetSettings(config: Config): BudgetSettings {
  return {
    windowMs: config.BUDGET_WINDOW_SECONDS * 1000,
    holdMs: config.HOLD_SECONDS === 0 ? null : config.HOLD_SECONDS * 1000,
    holdExpiry: config.HOLD_EXPIRY,
    keepMs: config.ADMISSION_KEEP_SECONDS * 1000,
    dedupeMs: config.ADMISSION_DEDUPE_SECONDS * 1000,
  };
}
