import type {
  BudgetDifference,
  BudgetReconciliation,
} from '../../../shared/reconciliation/budget-reconciliation.js';
import type { BudgetState } from '../../../shared/state/budget-state.js';
import { withSnapshot } from '../archive-snapshot.js';
import { BudgetTally } from './budget-tally.js';
import type { BudgetWindowKey } from './budget-window-key.js';
import { type BudgetCompareOptions, BudgetComparison, type ComparedBudget } from './compare-budgets.js';
import { findWindowsSince, nextTenants } from './find-budget-windows.js';
import { isDate, type Read, UNREADABLE } from './hot-budgets.js';
import type { RecentBudgetState, TenantState } from './recent-budget-state.js';

const TENANTS_PER_PAGE = 500;
/** Tenants of which something is remembered. */
const TENANTS_MAX = 10_000;
const WINDOWS_PER_TENANT = 200;
/** Windows of one tenant that are looked at again. */
const AGAIN_MAX = 500;
/** Windows per comparison. Each waits for the sink. */
const CHUNK = 1000;
/** Where nothing is known of the last time. */
const FIRST_LOOK_MS = 600_000;
/** Number of no entry. */
const UNSEEN = -1;

export interface RecentBudgetOptions extends BudgetCompareOptions {
  /** After this many ms it begins nothing more; the next run goes on there. */
  readonly runMsMax: number;
  readonly onDifference: (difference: BudgetDifference) => void;
}

/** A tenant that there is something to compare of. */
interface Plan {
  readonly tenant: string;
  readonly epoch: number;
  readonly seq: number;
  readonly since: number;
  readonly starts: readonly number[];
  /** All windows that begin at this or before are among them, or done; ms. */
  readonly next: number;
  /** Postgres may know, or may come to know, of more. */
  readonly isPartial: boolean;
}

/**
 * Compares, of every tenant, the windows in Redis and those that ended since the last run. A tenant whose ledger has not
 * grown costs one small read, unless windows of it are hot. Bounded in tenants, windows, entries and time; the next run
 * goes on with the tenants that there was no time for.
 */
export function reconcileRecentBudgets(
  options: RecentBudgetOptions,
  before: RecentBudgetState,
): Promise<{ readonly result: BudgetReconciliation; readonly state: RecentBudgetState }> {
  return new RecentRun(options, before).run();
}

class RecentRun {
  private readonly begunAt = performance.now();
  private readonly tally: BudgetTally;
  private readonly comparison: BudgetComparison;
  private readonly tenants: Map<string, TenantState>;

  constructor(
    private readonly options: RecentBudgetOptions,
    private readonly before: RecentBudgetState,
  ) {
    this.tally = new BudgetTally(options.onDifference);
    this.comparison = new BudgetComparison(options);
    this.tenants = new Map(before.tenants);
  }

  async run(): Promise<{ readonly result: BudgetReconciliation; readonly state: RecentBudgetState }> {
    let { cursor } = this.before;
    do {
      const after = cursor;
      const page = await withSnapshot(this.options, (snapshot) =>
        nextTenants(snapshot, after, TENANTS_PER_PAGE),
      );
      const reached = await this.comparePage(page);
      cursor = reached < page.length ? (page[reached - 1] ?? after) : (page.at(-1) ?? '');
      if (page.length < TENANTS_PER_PAGE && reached === page.length) cursor = '';
    } while (cursor !== '' && this.hasTime());
    if (cursor !== '') this.tally.addLeftOut(1);
    return { result: this.tally.result(), state: { tenants: this.tenants, cursor } };
  }

  /** @returns how many of the tenants, the first ones, were looked at: one at least */
  private async comparePage(page: readonly string[]): Promise<number> {
    const plans = await this.plan(page);
    for (let begin = 0; begin < plans.length; ) {
      if (begin > 0 && !this.hasTime()) return page.indexOf(plans[begin]!.tenant);
      const some: Plan[] = [];
      for (let windows = 0; begin < plans.length && windows < CHUNK; begin += 1) {
        some.push(plans[begin]!);
        windows += plans[begin]!.starts.length;
      }
      await this.comparePlans(some);
    }
    return page.length;
  }

  private async plan(page: readonly string[]): Promise<Plan[]> {
    const { hot, progress, signal } = this.options;
    signal.throwIfAborted();
    const plans: Plan[] = [];
    for (const [tenant, state] of await hot.readStates(page)) {
      const plan = this.planOf(tenant, state);
      if (plan !== undefined) plans.push(plan);
    }
    // First of all, or windows that ended meanwhile would be passed over.
    const partitions = plans.map(({ tenant }) => hot.partitionOf(tenant));
    const reached = await progress.reached(partitions, true);
    const found = await withSnapshot(this.options, (snapshot) =>
      findWindowsSince(snapshot, plans, WINDOWS_PER_TENANT),
    );
    return plans.map((plan, i) => {
      const more = found[i]!;
      const isCut = more.length >= WINDOWS_PER_TENANT;
      if (isCut) this.tally.addLeftOut(1);
      const isBehind = !reached.has(partitions[i]!);
      const next = isBehind ? plan.since : isCut ? more.at(-1)! : Math.max(plan.next, ...more);
      return { ...plan, next, starts: [...new Set([...plan.starts, ...more])], isPartial: isCut || isBehind };
    });
  }

  private planOf(tenant: string, state: Read<BudgetState>): Plan | undefined {
    if (state.kind === 'none') return undefined;
    if (state.kind !== 'read') {
      return { tenant, epoch: 0, seq: 0, since: 0, starts: [UNREADABLE], next: 0, isPartial: true };
    }
    const { epoch, entries: seq, window, lastEnd } = state.value;
    const open = window === null ? [] : [window.start];
    const known = this.before.tenants.get(tenant);
    const isSame = known?.epoch === epoch;
    const again = isSame ? known.again : [];
    if (isSame && known.seq === seq && again.length === 0) return undefined;
    const since = isSame ? known.since : Math.max(0, (open[0] ?? lastEnd) - FIRST_LOOK_MS);
    const next = Math.max(since, ...open);
    return { tenant, epoch, seq, since, starts: [...open, ...again], next, isPartial: false };
  }

  private async comparePlans(plans: readonly Plan[]): Promise<void> {
    const windows = plans.flatMap(({ tenant, epoch, starts }) =>
      starts.map((start): BudgetWindowKey => ({ tenant, epoch, start })),
    );
    const compared: ComparedBudget[] = [];
    for (let i = 0; i < windows.length; i += CHUNK) {
      compared.push(...(await this.comparison.compare(windows.slice(i, i + CHUNK), true)));
    }
    this.tally.addWindows(compared);
    let at = 0;
    for (const plan of plans) {
      this.note(plan, compared.slice(at, at + plan.starts.length));
      at += plan.starts.length;
    }
  }

  private note({ tenant, epoch, seq, next, isPartial }: Plan, compared: readonly ComparedBudget[]): void {
    const unfinished = compared.filter(
      ({ isHot, behind, leftOut, differences }) => isHot || behind || leftOut || differences.length > 0,
    );
    const again = unfinished.map(({ key }) => key.start).filter((start) => isDate(start));
    this.tenants.delete(tenant);
    this.tenants.set(tenant, {
      ...{ tenant, epoch, since: next, again: again.slice(-AGAIN_MAX) },
      // There is more to see, although the ledger may not grow.
      seq: isPartial ? UNSEEN : seq,
    });
    for (const [oldest] of this.tenants) {
      if (this.tenants.size <= TENANTS_MAX) break;
      this.tenants.delete(oldest);
    }
  }

  private hasTime(): boolean {
    return performance.now() - this.begunAt < this.options.runMsMax;
  }
}
