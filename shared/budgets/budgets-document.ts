import { type BudgetConfig, type LevelConfig, MILLION } from '../state/budget-config.js';

/** Budgets as people write them: `PUT /budgets`, and the column `document` of budget_versions. */
export interface BudgetsDocument {
  /** Length of a window, in seconds; null: the installation's. */
  readonly window_seconds: number | null;
  /** Largest estimate of one request, as a share of the root's limit. */
  readonly max_request_share: number;
  /** What a degraded grant debits, as a share of the estimate. */
  readonly degraded_debit: number;
  readonly levels: readonly LevelDocument[];
}

/** Thresholds are shares of `limit`. */
export interface LevelDocument {
  readonly name: string;
  /** null: the root. */
  readonly parent: string | null;
  /** Tokens per window. */
  readonly limit: number;
  readonly soft_threshold: number;
  readonly hard_threshold: number;
  /** Absent: as `soft_threshold`. */
  readonly p2_soft_threshold?: number | undefined;
  /** Absent: as `hard_threshold`. */
  readonly p2_hard_threshold?: number | undefined;
  readonly p0_threshold: number;
}

export function budgetsDocument(config: BudgetConfig): BudgetsDocument {
  return {
    window_seconds: config.windowMs === null ? null : config.windowMs / 1000,
    max_request_share: config.maxRequestShare / MILLION,
    degraded_debit: config.degradedDebit / MILLION,
    levels: config.levels.map(levelDocument),
  };
}

function levelDocument(level: LevelConfig): LevelDocument {
  return {
    name: level.name,
    parent: level.parent,
    limit: level.limit,
    soft_threshold: level.soft / MILLION,
    hard_threshold: level.hard / MILLION,
    ...(level.p2Soft !== null && { p2_soft_threshold: level.p2Soft / MILLION }),
    ...(level.p2Hard !== null && { p2_hard_threshold: level.p2Hard / MILLION }),
    p0_threshold: level.p0 / MILLION,
  };
}

/**
 * Version and time are those of budgets that nobody has applied yet (0).
 * @param document without `budgetDefects`
 */
export function budgetConfigOf(document: BudgetsDocument): BudgetConfig {
  const { window_seconds: seconds } = document;
  return {
    version: 0,
    appliedAt: 0,
    windowMs: seconds === null ? null : seconds * 1000,
    maxRequestShare: millionths(document.max_request_share),
    degradedDebit: millionths(document.degraded_debit),
    levels: parentsFirst(document.levels).map(levelConfig),
  };
}

function levelConfig(level: LevelDocument): LevelConfig {
  const { p2_soft_threshold: p2Soft, p2_hard_threshold: p2Hard } = level;
  return {
    name: level.name,
    parent: level.parent,
    limit: level.limit,
    soft: millionths(level.soft_threshold),
    hard: millionths(level.hard_threshold),
    p2Soft: p2Soft === undefined ? null : millionths(p2Soft),
    p2Hard: p2Hard === undefined ? null : millionths(p2Hard),
    p0: millionths(level.p0_threshold),
  };
}

/** A number has at most 6 decimals exactly if it is the one nearest to its millionths: see `isMillionths`. */
function millionths(share: number): number {
  return Math.round(share * MILLION);
}

export function isMillionths(share: number): boolean {
  return Number.isSafeInteger(millionths(share)) && millionths(share) / MILLION === share;
}

/** The order as it was written, where every parent precedes its children already. */
function parentsFirst(levels: readonly LevelDocument[]): readonly LevelDocument[] {
  const byName = new Map(levels.map((level) => [level.name, level]));
  const ordered = new Set<LevelDocument>();
  for (const level of levels) {
    const missing: LevelDocument[] = [];
    let at: LevelDocument | undefined = level;
    while (at !== undefined && !ordered.has(at)) {
      missing.push(at);
      at = at.parent === null ? undefined : byName.get(at.parent);
    }
    for (const each of missing.reverse()) ordered.add(each);
  }
  return [...ordered];
}
