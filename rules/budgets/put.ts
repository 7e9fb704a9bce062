import type { BudgetsPut, BudgetsPutReply } from '../../shared/messages/admissions.js';
import { BUDGETS_APPLIED, type BudgetsApplied } from '../../shared/messages/budget-emissions.js';
import type { BudgetConfig } from '../../shared/state/budget-config.js';
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
    const appliedAt = books.present?.config?.appliedAt ?? -1;
    if (put.config.appliedAt > appliedAt) apply(books, put.config);
    remember(books);
    return { kind: 'applied', config: books.config };
  }
  if (put.replaces !== undefined && put.replaces !== present.version) {
    return { kind: 'version_conflict', version: present.version };
  }
  const appliedAt = Math.max(books.at, present.appliedAt);
  const config = { ...put.config, version: present.version + 1, appliedAt };
  apply(books, config);
  remember(books);
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

function remember(books: Books): void {
  const { tenant } = books.context;
  const configured = books.partition?.configured;
  const { appliedAt } = books.config;
  if (configured?.get(tenant) === appliedAt) return;
  books.setPartition({ configured: new Map(configured).set(tenant, appliedAt) });
}
