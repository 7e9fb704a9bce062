import type { BudgetsPut, BudgetsPutReply } from '../../shared/messages/admissions.js';
import { BUDGETS_APPLIED, type BudgetsApplied } from '../../shared/messages/budget-emissions.js';
import { type BudgetConfig, WINDOW_LEVELS_MAX } from '../../shared/state/budget-config.js';
import type { BudgetWindow } from '../../shared/state/budget-state.js';
import type { Books } from './books.js';
import { treeOf } from './levels.js';
import { nextBoundary } from './window.js';

/**
 * Replaces a tenant's budgets. What was restored from Postgres applies only where it is later than what is known, keeps
 * its version and is not audited again.
 * @throws for levels that are no tree
 */
export function putBudgets(books: Books, put: BudgetsPut): BudgetsPutReply {
  const present = books.config;
  if (put.restored === true) {
    const isLater = put.config.appliedAt > (books.present?.config?.appliedAt ?? -1);
    const full = isLater ? fullWindow(books, put.config) : undefined;
    if (full !== undefined) return { kind: 'too_many_levels', resetsAt: full.end };
    if (isLater) apply(books, put.config);
    books.indexConfigured();
    return { kind: 'applied', config: books.config };
  }
  if (put.replaces !== undefined && put.replaces !== present.version) {
    return { kind: 'version_conflict', version: present.version };
  }
  const full = fullWindow(books, put.config);
  if (full !== undefined) return { kind: 'too_many_levels', resetsAt: full.end };
  const appliedAt = Math.max(books.at, present.appliedAt);
  const config = { ...put.config, version: present.version + 1, appliedAt };
  apply(books, config);
  books.indexConfigured();
  const { tenant } = books.context;
  const { actor, reason } = put;
  const applied: BudgetsApplied = { tenant, config, actor, reason };
  books.emit(BUDGETS_APPLIED, applied);
  return { kind: 'applied', config };
}

/** The open window stays what it is, but ends where windows end from now on. */
function apply(books: Books, config: BudgetConfig): void {
  treeOf(config);
  const { windowMs } = books;
  const state = books.draft();
  state.config = config;
  if (state.window === null || books.windowMs === windowMs) return;
  state.window.end = nextBoundary(books.at, books.windowMs);
  books.setResetTimer(state.window.end);
}

/** The open window, if it has no room for these levels: what was used of others stays in it until it ends. */
function fullWindow(books: Books, { levels }: BudgetConfig): Readonly<BudgetWindow> | undefined {
  const window = books.present?.window ?? null;
  if (window === null) return undefined;
  const added = levels.filter(({ name }) => !window.levels.has(name)).length;
  return window.levels.size + added > WINDOW_LEVELS_MAX ? window : undefined;
}
