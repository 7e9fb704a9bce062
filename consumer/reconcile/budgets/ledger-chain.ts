import type { BudgetDifference } from '../../../shared/reconciliation/budget-reconciliation.js';
import type { Snapshot } from '../archive-snapshot.js';
import { firstGap, type LedgerRun } from './ledger-slices.js';

/** Where a ledger was left. */
interface Link {
  readonly seq: number;
  readonly ms: number;
}

/**
 * Whether the numbers of every ledger follow one another, slice by slice. The sink writes in order, so what a snapshot
 * shows is the beginning of each ledger; an earlier slice may have got more entries since it was looked at. Hence a gap
 * between two slices is looked at again, in the snapshot of the second, before it is one.
 *
 * Its memory grows with the number of tenants.
 */
export class LedgerChain {
  private readonly links = new Map<string, Link>();

  /** @param fromMs entries before this are not looked at, or not kept */
  constructor(private readonly fromMs: number) {}

  /** @param runs of the next slice. @param keptFromMs entries before it are dropped by now */
  async add(snapshot: Snapshot, runs: readonly LedgerRun[], keptFromMs: number): Promise<BudgetDifference[]> {
    const differences: BudgetDifference[] = [];
    for (const run of runs) {
      const { tenant, epoch, first, last, firstMs, lastMs, entries } = run;
      const key = `${tenant}:${epoch}`;
      const link = this.linkBefore(key, run, keptFromMs);
      this.links.set(key, { seq: last, ms: lastMs });
      if (first === link.seq + 1 && entries === last - first + 1) continue;
      const slice = { fromMs: Math.min(link.ms, firstMs), toMs: lastMs };
      const gap = await firstGap(snapshot, slice, { tenant, epoch, after: link.seq, upTo: last });
      if (gap !== undefined) differences.push({ tenant, place: 'ledger', field: 'seq', ...gap });
    }
    return differences;
  }

  private linkBefore(key: string, { epoch, first, firstMs }: LedgerRun, keptFromMs: number): Link {
    const known = this.links.get(key);
    // What was dropped meanwhile can be missed by nobody.
    if (known !== undefined && known.ms >= keptFromMs) return known;
    // The whole of a ledger that began later is here.
    const isWhole = known === undefined && epoch >= Math.max(this.fromMs, keptFromMs);
    return isWhole ? { seq: 0, ms: firstMs } : { seq: first - 1, ms: firstMs };
  }
}
