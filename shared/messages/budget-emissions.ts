import type { BudgetConfig, Priority } from '../state/budget-config.js';

/** What the topic `admissions` hands to its outbox, for the sink `budgets`. */
export const LEDGER = 'ledger';
export const BUDGET_SNAPSHOT = 'budget_snapshot';
export const BUDGETS_APPLIED = 'budgets_applied';

export const LEDGER_KINDS = [
  'grant',
  'settle',
  'overrun',
  'late_settle',
  'cancel',
  'expire',
  'fail_open',
  'reset',
] as const;
export type LedgerKind = (typeof LEDGER_KINDS)[number];

const kinds: ReadonlySet<unknown> = new Set(LEDGER_KINDS);

/** Whether this is what this version emits. What is broken otherwise is no question of the version. */
export function isBudgetEmission(type: string, body: unknown): boolean {
  if (type !== LEDGER) return type === BUDGET_SNAPSHOT || type === BUDGETS_APPLIED;
  if (!Array.isArray(body)) return true;
  return body.every((entry: Partial<LedgerEntry> | null) => {
    const kind: unknown = entry?.kind;
    return typeof kind !== 'string' || kinds.has(kind);
  });
}

/**
 * One entry of the ledger: what changed `held` and `settled` of one window, at every level of a path. Identified by
 * tenant, epoch and seq; seq counts 1, 2, 3, … within the epoch. Several entries share an outbox entry (its body is an
 * array of them).
 */
export interface LedgerEntry {
  readonly tenant: string;
  readonly epoch: number;
  readonly seq: number;
  /** ms since the epoch. */
  readonly at: number;
  readonly kind: LedgerKind;
  /** Start of the window it changes, ms. */
  readonly window: number;
  /** Levels it changes, the root first; empty for a reset. */
  readonly path: readonly string[];
  readonly held: number;
  readonly settled: number;
  /** Absent for a reset. */
  readonly admission?: string;
  readonly pipeline?: string;
  readonly priority?: Priority;
  /** A grant's estimate, a settle's actual tokens. */
  readonly tokens?: number;
}

/** A window as it ended, once nothing of it is held any more; again, with a higher revision, when it changed after. */
export interface BudgetSnapshot {
  readonly tenant: string;
  readonly epoch: number;
  /** [start, end), ms. */
  readonly start: number;
  readonly end: number;
  readonly revision: number;
  /** Version of the configuration when it ended. */
  readonly version: number;
  /** Entries of the ledger about this window. */
  readonly entries: number;
  readonly levels: readonly SnapshotLevel[];
}

export interface SnapshotLevel {
  readonly name: string;
  /** null: the level was removed while the window was open. */
  readonly limit: number | null;
  readonly settled: number;
  readonly admitted: number;
  readonly degraded: number;
  readonly refused: number;
}

/** A change of the budgets, for the audit. */
export interface BudgetsApplied {
  readonly tenant: string;
  readonly config: BudgetConfig;
  readonly actor: string;
  readonly reason: string;
}
