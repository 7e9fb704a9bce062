/**
 * What a tenant may spend: a tree of levels (one root, pipelines below it, any depth). Shares and thresholds are whole
 * millionths (850000 is 0.85), so that every decision is made with integers alone.
 */
export interface BudgetConfig {
  /** Counts the changes; 0: never configured, the defaults. */
  readonly version: number;
  /** The partition's `at` when it was applied, ms; 0: defaults. Of two configurations the later applied counts. */
  readonly appliedAt: number;
  /** Length of a window; null: the installation's (BUDGET_WINDOW_SECONDS). */
  readonly windowMs: number | null;
  /** Largest estimate of one request, in millionths of the root's limit. */
  readonly maxRequestShare: number;
  /** What a degraded grant debits, in millionths of the estimate. */
  readonly degradedDebit: number;
  /** The root first, every parent before its children. */
  readonly levels: readonly LevelConfig[];
  /** Somebody has configured the tenant, and none of what is stored can be used: nobody is decided by this. */
  readonly unsound?: true;
}

/** Thresholds in millionths of `limit`. */
export interface LevelConfig {
  readonly name: string;
  /** null: the root. */
  readonly parent: string | null;
  /** Tokens per window. */
  readonly limit: number;
  /** Beyond it P1 (and P2) are degraded. */
  readonly soft: number;
  /** Beyond it P1 (and P2) are refused. */
  readonly hard: number;
  /** P2's own; null: those of P1. */
  readonly p2Soft: number | null;
  readonly p2Hard: number | null;
  /** Beyond it P0 is refused. */
  readonly p0: number;
}

export const MILLION = 1_000_000;

export const PRIORITIES = ['P0', 'P1', 'P2'] as const;
export type Priority = (typeof PRIORITIES)[number];

/** Bounds of a configuration: the tree is one document, and is walked by every decision. */
export const LEVELS_MAX = 256;
export const DEPTH_MAX = 8;
/** Levels of one window: those that are configured, and those that were while it was open and have been used. */
export const WINDOW_LEVELS_MAX = 1024;
export const LEVEL_NAME = /^[A-Za-z0-9_.:-]{1,64}$/;
/** Largest limit, in tokens: sums of many overruns stay exact integers. */
export const LIMIT_MAX = 1_000_000_000_000;
/** A window is at most 31 days long. */
export const BUDGET_WINDOW_MS_MAX = 31 * 86_400_000;

const level = (name: string, parent: string | null, limit: number): LevelConfig => ({
  ...{ name, parent, limit },
  ...{ soft: 850_000, hard: 950_000, p2Soft: null, p2Hard: null, p0: 1_500_000 },
});

/**
 * What a tenant has whose stored budgets are all broken, until they are put anew: any other are later. Nothing is
 * admitted by it, also where nobody looks at `unsound`.
 */
export function unsoundBudgets(version: number): BudgetConfig {
  return { ...DEFAULT_BUDGETS, version, levels: [level('global', null, 0)], unsound: true };
}

/** What a tenant has that nobody has configured. Migration 0004 seeds tenant `default` with the same. */
export const DEFAULT_BUDGETS: BudgetConfig = {
  version: 0,
  appliedAt: 0,
  windowMs: null,
  maxRequestShare: 100_000,
  degradedDebit: 500_000,
  levels: [
    level('global', null, 1_000_000),
    level('monitoring', 'global', 350_000),
    level('enrichment', 'global', 350_000),
    level('ranking', 'global', 300_000),
  ],
};
