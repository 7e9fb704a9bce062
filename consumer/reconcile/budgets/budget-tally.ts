import type {
  BudgetDifference,
  BudgetReconciliation,
} from '../../../shared/reconciliation/budget-reconciliation.js';
import type { ComparedBudget } from './compare-budgets.js';
import type { ComparedHolds } from './compare-holds.js';

/** Differences kept to be shown; all of them are counted and logged. */
const SHOWN_MAX = 100;

/** What the comparisons of one run add up to. */
export class BudgetTally {
  private readonly begunAt = new Date();
  private comparedWindows = 0;
  private comparedHolds = 0;
  private behind = 0;
  private outside = 0;
  private lost = 0;
  private leftOut = 0;
  private drifted = 0;
  private readonly shown: BudgetDifference[] = [];

  /** @param onDifference told of each */
  constructor(private readonly onDifference: (difference: BudgetDifference) => void) {}

  addWindows(all: readonly ComparedBudget[]): void {
    for (const { compared, behind, outside, lost, leftOut, differences } of all) {
      if (compared) this.comparedWindows += 1;
      if (behind) this.behind += 1;
      if (outside) this.outside += 1;
      if (lost) this.lost += 1;
      if (leftOut) this.leftOut += 1;
      if (differences.length > 0) this.drifted += 1;
      this.tell(differences);
    }
  }

  addHolds({ compared, behind, outside, differences }: ComparedHolds): void {
    this.comparedHolds += compared;
    this.behind += behind;
    this.outside += outside;
    this.addEach(differences);
  }

  /** Differences that are each about something else. */
  addEach(differences: readonly BudgetDifference[]): void {
    this.drifted += differences.length;
    this.tell(differences);
  }

  addLeftOut(windows: number): void {
    this.leftOut += windows;
  }

  result(): BudgetReconciliation {
    const { comparedWindows, comparedHolds, behind, leftOut, outside, lost, drifted, shown } = this;
    const at = this.begunAt.toISOString();
    return { at, comparedWindows, comparedHolds, behind, leftOut, outside, lost, drifted, drift: shown };
  }

  private tell(differences: readonly BudgetDifference[]): void {
    for (const difference of differences) {
      this.onDifference(difference);
      if (this.shown.length < SHOWN_MAX) this.shown.push(difference);
    }
  }
}
