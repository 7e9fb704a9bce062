import type { BudgetDifference } from '../../../shared/reconciliation/budget-reconciliation.js';
import type { BudgetWindow } from '../../../shared/state/budget-state.js';
import { type Snapshot, type SnapshotOptions, withSnapshot } from '../archive-snapshot.js';
import { type BudgetWindowKey, byTenant } from './budget-window-key.js';
import { type EndedWindow, readEndedWindows } from './ended-windows.js';
import { DOCUMENTS_PER_READ, type HotBudgetReader, type HotBudgets, isDate } from './hot-budgets.js';
import { readLedgerBegin, readLedgerBeginAfter } from './ledger-begin.js';
import { type LedgerPart, type LedgerQuestion, type LedgerSums, sumLedger } from './ledger-sums.js';
import type { SinkProgress } from './sink-progress.js';
import { aboutWindow, isStuck, stuckWindow } from './stuck.js';

export interface BudgetCompareOptions extends SnapshotOptions {
  readonly hot: HotBudgetReader;
  readonly progress: SinkProgress;
  /** Windows with more entries are left out; absent: none is. */
  readonly entriesMax?: number;
}

/** What became of one window. */
export interface ComparedBudget {
  readonly key: BudgetWindowKey;
  readonly compared: boolean;
  /** Redis knows more of it than Postgres does yet, or a newer version has written it. */
  readonly behind: boolean;
  /** Older than the ledger that is kept. */
  readonly outside: boolean;
  /** Of a ledger that Redis has lost, and never ended. */
  readonly lost: boolean;
  readonly leftOut: boolean;
  /** It is in Redis: open, or with something that may still change. */
  readonly isHot: boolean;
  readonly differences: readonly BudgetDifference[];
}

/** All of one window, before the ledger is asked. */
interface Looked {
  readonly key: BudgetWindowKey;
  readonly partition: number;
  /** It is a window of the ledger that Redis has. */
  readonly isCurrent: boolean;
  /** Redis had, or may have, begun another ledger when it was looked at. */
  readonly isUnknown: boolean;
  readonly isBroken: boolean;
  /** Number of the ledger's last entry that its document, or its absence, takes account of. */
  readonly seq: number;
  readonly hot: BudgetWindow | undefined;
  /** Nothing of it is held, and it is over. */
  readonly hasEnded: boolean;
  readonly row: EndedWindow | undefined;
  /** It is open, and nothing will end it. */
  readonly stuck: readonly BudgetDifference[];
}

/** Where nothing says how many entries a window has. */
const UNKNOWN_ENTRIES = 50_000;

/**
 * Holds windows of budgets, in Redis and in Postgres, against the ledger in Postgres.
 *
 * Whatever changes `held` or `settled` is an entry of the ledger, numbered without a gap. So a number is a place in time:
 *
 * - A tenant's documents are read in one command, and the number of the last entry with them. They say what the entries up
 *   to it add up to; which never changes. They are compared as soon as the sink has written all that was emitted up to the
 *   moment after (`SinkProgress`); else they are `behind`.
 * - An ended window in Postgres says of how many entries it is made: the first so many of that window. The sink writes in
 *   the order of the outbox, so these are there with it, or before it.
 * - A window that is neither open nor holds anything, by the documents, was sent to Postgres with its last entry, or
 *   before. It must be there once the sink has all that was emitted up to the moment after.
 *
 * A window moves from open to past to Postgres, never back, and is looked for in that order: in Redis first. None of this
 * needs a clock.
 */
export class BudgetComparison {
  constructor(private readonly options: BudgetCompareOptions) {}

  /**
   * @param windows a few hundred at a time
   * @param waits for the sink, where there is something in Redis
   * @throws what the drivers throw; the reason of the signal
   */
  async compare(windows: readonly BudgetWindowKey[], waits: boolean): Promise<ComparedBudget[]> {
    const hot = await this.readHot(windows);
    const reached = await this.options.progress.reached(
      hot.map(({ partition }) => partition),
      waits,
    );
    const compared = await withSnapshot(this.options, async (snapshot) => {
      const keptFromMs = await readLedgerBegin(snapshot);
      const keys = windows.map((key, i) => resolved(key, hot[i]!));
      const rows = await readEndedWindows(snapshot, keys);
      const looked = keys.map((key, i) => look(key, hot[i]!, rows[i]));
      return this.compareLooked(snapshot, looked, { keptFromMs, reached });
    });
    if (compared.every(({ differences }) => differences.length === 0)) return compared;
    const keptFromMs = await readLedgerBeginAfter(this.options);
    return compared.map((each) =>
      each.key.start >= keptFromMs
        ? each
        : { ...each, ...NOTHING, outside: true, differences: each.differences.filter(isStuck) },
    );
  }

  /** @returns in the order of the windows */
  private async readHot(windows: readonly BudgetWindowKey[]): Promise<HotBudgets[]> {
    const { hot } = this.options;
    const read = new Map<BudgetWindowKey, HotBudgets>();
    for (const [tenant, all] of byTenant(windows)) {
      for (let i = 0; i < all.length; i += DOCUMENTS_PER_READ) {
        const some = all.slice(i, i + DOCUMENTS_PER_READ);
        const budgets = await hot.read(
          tenant,
          some.map(({ start }) => start),
        );
        for (const key of some) read.set(key, budgets);
      }
    }
    return windows.map((key) => read.get(key)!);
  }

  private async compareLooked(
    snapshot: Snapshot,
    all: readonly Looked[],
    { keptFromMs, reached }: { keptFromMs: number; reached: ReadonlySet<number> },
  ): Promise<ComparedBudget[]> {
    const { entriesMax = Infinity } = this.options;
    const questions: LedgerQuestion[] = [];
    const weights: number[] = [];
    const asked = all.map((looked) => {
      const { key, hot, row, seq } = looked;
      const outside = key.start < keptFromMs;
      const weight = Math.max(hot?.entries ?? 0, row?.entries ?? 0);
      const leftOut = weight > entriesMax;
      const isAsked = !outside && !leftOut && key.epoch !== undefined && isDate(key.start);
      if (!isAsked) return { looked, outside, leftOut, at: undefined };
      weights.push(weight === 0 ? UNKNOWN_ENTRIES : weight);
      const at = questions.push({ ...key, epoch: key.epoch!, seq, entries: row?.entries ?? 0 }) - 1;
      return { looked, outside, leftOut, at };
    });
    const sums = await sumLedger(snapshot, questions, weights);
    return asked.map(({ looked, outside, leftOut, at }) => {
      const of = at === undefined ? undefined : sums[at];
      const verdict = judge(looked, of, reached.has(looked.partition));
      return { key: looked.key, isHot: looked.hot !== undefined, outside, leftOut, ...verdict };
    });
  }
}

/** Which ledger a window is of that was found in Redis. */
function resolved(key: BudgetWindowKey, { state }: HotBudgets): BudgetWindowKey {
  if (key.epoch !== undefined || state.kind !== 'read') return key;
  return { ...key, epoch: state.value.epoch };
}

function look(
  key: BudgetWindowKey,
  { state, past, partition, resetAt }: HotBudgets,
  row: EndedWindow | undefined,
): Looked {
  const document = past.get(key.start);
  const common = { key, partition, row };
  if (state.kind !== 'read') {
    const isBroken =
      state.kind === 'broken' ||
      (state.kind === 'none' && document !== undefined && document.kind !== 'none');
    const isUnknown = state.kind === 'newer';
    return {
      ...common,
      ...{ isCurrent: false, isUnknown, isBroken, seq: 0, hot: undefined, hasEnded: false, stuck: [] },
    };
  }
  const { epoch, entries, window } = state.value;
  const isCurrent = key.epoch === epoch;
  // A ledger that began after Redis was asked.
  const isLater = key.epoch !== undefined && key.epoch > epoch;
  const isOpen = window?.start === key.start;
  const read = isOpen ? { kind: 'read' as const, value: window! } : (document ?? { kind: 'none' as const });
  const hot = isCurrent && read.kind === 'read' ? read.value : undefined;
  return {
    ...common,
    isCurrent,
    isUnknown: isLater || (isCurrent && read.kind === 'newer'),
    isBroken: isCurrent && read.kind === 'broken',
    seq: isCurrent ? entries : 0,
    hot,
    hasEnded: isCurrent && !isOpen && (hot === undefined || hot.holds === 0),
    stuck: isOpen && hot !== undefined ? stuckWindow(key.tenant, hot, resetAt) : [],
  };
}

type Verdict = Pick<ComparedBudget, 'compared' | 'behind' | 'lost' | 'differences'>;

const NOTHING: Verdict = { compared: false, behind: false, lost: false, differences: [] };

/** @param reached Postgres has all that Redis had said when it was asked */
function judge(looked: Looked, sums: LedgerSums | undefined, reached: boolean): Verdict {
  const { key, isCurrent, isUnknown, isBroken, hot, row, hasEnded, stuck } = looked;
  const about = aboutWindow(key);
  if (isBroken) {
    const difference = { ...about, place: 'redis', field: 'document', expected: 0, found: 0 } as const;
    return { ...NOTHING, compared: true, differences: [difference] };
  }
  if (sums === undefined) return { ...NOTHING, behind: isUnknown, differences: stuck };
  const found = [...stuck, ...(row === undefined ? [] : rowDifferences(about, row, sums.first))];
  let behind = isUnknown;
  if (hot !== undefined) {
    if (reached) found.push(...hotDifferences(about, hot, sums.upTo));
    else behind = true;
  }
  // Nobody misses a window in which nothing was asked for.
  if (hasEnded && sums.upTo.levels.size > 0 && (row?.entries ?? 0) < sums.upTo.entries) {
    const field = row === undefined ? 'row' : 'revision';
    const values = { expected: sums.upTo.entries, found: row?.entries ?? 0 };
    if (reached) found.push({ ...about, place: 'postgres', field, ...values });
    else behind = true;
  }
  const lost = !isCurrent && !isUnknown && row === undefined;
  const compared = row !== undefined || (hot !== undefined && reached) || found.length > 0;
  return { compared, behind, lost, differences: found };
}

type About = Pick<BudgetDifference, 'tenant' | 'window'>;

function hotDifferences(about: About, hot: BudgetWindow, ledger: LedgerPart): BudgetDifference[] {
  const found = entriesDifference(about, 'redis', hot.entries, ledger.entries);
  for (const level of new Set([...hot.levels.keys(), ...ledger.levels.keys()])) {
    const expected = ledger.levels.get(level);
    const use = hot.levels.get(level);
    for (const field of ['settled', 'held'] as const) {
      const values = { expected: expected?.[field] ?? 0, found: use?.[field] ?? 0 };
      if (values.expected !== values.found) found.push({ ...about, level, place: 'redis', field, ...values });
    }
  }
  return found;
}

function rowDifferences(about: About, row: EndedWindow, ledger: LedgerPart): BudgetDifference[] {
  const place = 'postgres';
  const found = entriesDifference(about, place, row.entries, ledger.entries);
  for (const level of new Set([...row.levels.keys(), ...ledger.levels.keys()])) {
    const { held = 0, settled: expected = 0 } = ledger.levels.get(level) ?? {};
    const stored = row.levels.get(level);
    const settled = stored?.settled ?? 0;
    if (settled !== expected) {
      found.push({ ...about, level, place, field: 'settled', expected, found: settled });
    }
    // A window is sent to Postgres when nothing of it is held.
    if (held !== 0) found.push({ ...about, level, place, field: 'held', expected: held, found: 0 });
    if (stored !== undefined && stored.entries !== row.entries) {
      const values = { expected: row.entries, found: stored.entries };
      found.push({ ...about, level, place, field: 'entries', ...values });
    }
  }
  return found;
}

function entriesDifference(
  about: About,
  place: BudgetDifference['place'],
  found: number,
  expected: number,
): BudgetDifference[] {
  return found === expected ? [] : [{ ...about, place, field: 'entries', expected, found }];
}
