import { admissionDocument } from '../../../shared/keys.js';
import type {
  BudgetDifference,
  BudgetReconciliation,
} from '../../../shared/reconciliation/budget-reconciliation.js';
import { decodeAdmissions } from '../../../shared/state/budget-codec.js';
import { withSnapshot } from '../archive-snapshot.js';
import { BudgetTally } from './budget-tally.js';
import { type BudgetWindowKey, budgetKeyText, byTenant } from './budget-window-key.js';
import { type BudgetCompareOptions, BudgetComparison } from './compare-budgets.js';
import { compareHolds, type HoldKey, heldIn, holdsByLedger } from './compare-holds.js';
import { type EndedCursor, nextEnded } from './ended-windows.js';
import { readText } from './hot-budgets.js';
import { readLedgerBegin } from './ledger-begin.js';
import { LedgerChain } from './ledger-chain.js';
import { nextEntryMs, readRuns, windowsWithoutRow } from './ledger-slices.js';
import { stuckHolds } from './stuck.js';

/** Windows per comparison. Those in Redis wait for the sink each time. */
const CHUNK = 500;
const HOLDS_PER_COMPARISON = 5000;
/** The ledger is looked through in pieces of this length. */
const SLICE_MS = 600_000;
/** Windows that are remembered, so that none is compared twice. */
const REMEMBERED_MAX = 200_000;

const ADMISSION = admissionDocument('', '').slice(0, -1);

export interface FullBudgetOptions extends BudgetCompareOptions {
  /** Windows that begin before this are left alone, ms. */
  readonly sinceMs: number;
  readonly onDifference: (difference: BudgetDifference) => void;
}

/**
 * Compares everything that is kept: each window in Redis, each in Postgres, windows of the ledger that are in neither,
 * the numbers of each ledger, and each held admission with its timer. It reads every entry of the ledger twice; its time is not
 * bounded, its memory grows with the number of tenants only.
 */
export function reconcileAllBudgets(options: FullBudgetOptions): Promise<BudgetReconciliation> {
  return new FullRun(options).run();
}

class FullRun {
  private readonly tally: BudgetTally;
  private readonly comparison: BudgetComparison;
  /** In Redis when they were compared. */
  private readonly hot: BudgetWindowKey[] = [];
  /** Those, and those that Postgres has no ended window of, which may be in several slices of the ledger. */
  private readonly done = new Set<string>();

  constructor(private readonly options: FullBudgetOptions) {
    this.tally = new BudgetTally(options.onDifference);
    this.comparison = new BudgetComparison(options);
  }

  async run(): Promise<BudgetReconciliation> {
    await this.compareHot();
    await this.compareEnded();
    await this.compareLedger();
    await this.compareHeld();
    await this.compareHeldByLedger();
    return this.tally.result();
  }

  private async compareHot(): Promise<void> {
    const { hot, signal } = this.options;
    let batch = new Map<string, BudgetWindowKey>();
    for await (const found of hot.scanWindows(signal)) {
      for (const key of this.wanted(found)) batch.set(budgetKeyText(key), key);
      if (batch.size < CHUNK) continue;
      await this.compareWaiting([...batch.values()]);
      batch = new Map();
    }
    await this.compareWaiting([...batch.values()]);
  }

  private async compareEnded(): Promise<void> {
    for (let after: EndedCursor = { start: this.options.sinceMs, tenant: '', epoch: 0 }; ; ) {
      const from = after;
      const found = await withSnapshot(this.options, (snapshot) => nextEnded(snapshot, from, CHUNK));
      const last = found.at(-1);
      if (last === undefined) return;
      await this.compareEach(found);
      after = last;
    }
  }

  private async compareLedger(): Promise<void> {
    const { sinceMs } = this.options;
    const chain = new LedgerChain(sinceMs);
    for (let fromMs = sinceMs; ; fromMs += SLICE_MS) {
      const found = await withSnapshot(this.options, async (snapshot) => {
        const next = await nextEntryMs(snapshot, fromMs);
        if (next === undefined) return undefined;
        fromMs = next;
        const slice = { fromMs, toMs: fromMs + SLICE_MS };
        const runs = await readRuns(snapshot, slice);
        this.tally.addEach(await chain.add(snapshot, runs, await readLedgerBegin(snapshot)));
        return windowsWithoutRow(snapshot, slice, sinceMs);
      });
      if (found === undefined) return;
      await this.compareEach(found);
      for (const key of found) this.remember(key);
    }
  }

  private async compareHeld(): Promise<void> {
    const { hot, signal } = this.options;
    let batch: HoldKey[] = [];
    for await (const names of hot.scan(ADMISSION, signal)) {
      const documents = names.flatMap((name) => {
        const tenant = name.slice(ADMISSION.length).split(':')[0]!;
        return tenant === '' ? [] : [{ tenant, name }];
      });
      for (const [tenant, all] of byTenant(documents)) batch.push(...(await this.readHeld(tenant, all)));
      if (batch.length < HOLDS_PER_COMPARISON) continue;
      this.tally.addHolds(await compareHolds(this.options, batch, 'all'));
      batch = [];
    }
    if (batch.length > 0) this.tally.addHolds(await compareHolds(this.options, batch, 'all'));
  }

  private async readHeld(tenant: string, all: readonly { readonly name: string }[]): Promise<HoldKey[]> {
    const names = all.map(({ name }) => name);
    // A hold's timer has the name of the document.
    const { texts, dueAt } = await this.options.hot.readWith(tenant, names, names);
    return texts.flatMap((text, i) => {
      const document = readText(text, decodeAdmissions);
      if (document.kind === 'broken') {
        const admission = names[i]!.slice(ADMISSION.length + tenant.length + 1);
        const values = { field: 'document', expected: 0, found: 0 } as const;
        this.tally.addEach([{ tenant, admission, place: 'redis', ...values }]);
      }
      if (document.kind !== 'read') return [];
      this.tally.addEach(stuckHolds(tenant, document.value, dueAt[i] ?? null));
      return heldIn(tenant, document.value).filter(({ window }) => window >= this.options.sinceMs);
    });
  }

  /** Those of which Redis knows nothing. */
  private async compareHeldByLedger(): Promise<void> {
    for (const key of this.hot) {
      this.options.signal.throwIfAborted();
      for await (const holds of holdsByLedger(this.options, key, HOLDS_PER_COMPARISON)) {
        this.tally.addHolds(await compareHolds(this.options, holds, 'missing'));
      }
    }
  }

  /** Without waiting first: most of them ended long ago. */
  private async compareEach(windows: readonly BudgetWindowKey[]): Promise<void> {
    const fresh = this.wanted(windows).filter((key) => !this.done.has(budgetKeyText(key)));
    for (let i = 0; i < fresh.length; i += CHUNK) {
      const compared = await this.comparison.compare(fresh.slice(i, i + CHUNK), false);
      this.tally.addWindows(compared.filter(({ behind }) => !behind));
      await this.compareWaiting(compared.filter(({ behind }) => behind).map(({ key }) => key));
    }
  }

  private async compareWaiting(windows: readonly BudgetWindowKey[]): Promise<void> {
    for (let i = 0; i < windows.length; i += CHUNK) {
      const compared = await this.comparison.compare(windows.slice(i, i + CHUNK), true);
      this.tally.addWindows(compared);
      for (const { key, isHot } of compared) {
        this.remember(key);
        if (isHot && this.hot.length < REMEMBERED_MAX) this.hot.push(key);
      }
    }
  }

  private remember(key: BudgetWindowKey): void {
    if (this.done.size < REMEMBERED_MAX) this.done.add(budgetKeyText(key));
  }

  private wanted(windows: readonly BudgetWindowKey[]): BudgetWindowKey[] {
    return windows.filter(({ start }) => start >= this.options.sinceMs);
  }
}
