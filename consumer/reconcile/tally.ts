import type { Difference, Reconciliation } from '../../shared/reconciliation/reconciliation.js';
import type { Compared } from './compare-windows.js';
import { keyText, type WindowKey } from './window-key.js';

/** Differences kept to be shown; all of them are counted and logged. */
const SHOWN_MAX = 100;

/** What the comparisons of one run add up to. */
export class Tally {
  private readonly begunAt = new Date();
  private comparedWindows = 0;
  private pendingWindows = 0;
  private outside = 0;
  private readonly shown: Difference[] = [];
  private readonly driftedKeys = new Map<string, WindowKey>();

  /** @param onDifference told of each */
  constructor(private readonly onDifference: (difference: Difference) => void) {}

  add(all: readonly Compared[]): void {
    for (const { key, compared, pending, outside, differences } of all) {
      if (compared) this.comparedWindows += 1;
      if (pending) this.pendingWindows += 1;
      if (outside) this.outside += 1;
      if (differences.length > 0) this.driftedKeys.set(keyText(key), key);
      for (const difference of differences) {
        this.onDifference(difference);
        if (this.shown.length < SHOWN_MAX) this.shown.push(difference);
      }
    }
  }

  get pending(): number {
    return this.pendingWindows;
  }

  get drifted(): readonly WindowKey[] {
    return [...this.driftedKeys.values()];
  }

  /**
   * @param leftOut windows that there was no time for
   * @param alsoDrifted windows found before that could not be looked at again
   */
  result({ leftOut = 0, alsoDrifted = 0, lagSeconds = 0 } = {}): Reconciliation {
    return {
      at: this.begunAt.toISOString(),
      comparedWindows: this.comparedWindows,
      pending: this.pendingWindows,
      leftOut,
      lagSeconds,
      outside: this.outside,
      drifted: this.driftedKeys.size + alsoDrifted,
      drift: this.shown,
    };
  }
}
