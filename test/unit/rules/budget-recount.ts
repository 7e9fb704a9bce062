import { expect } from 'chai';
import type { BudgetSnapshot, LedgerEntry } from '../../../shared/messages/budget-emissions.js';
import { decodeAdmissions, decodeBudget, decodePastWindow } from '../../../shared/state/budget-codec.js';
import type { BudgetConfig, LevelConfig, Priority } from '../../../shared/state/budget-config.js';
import type { Admission, BudgetWindow } from '../../../shared/state/budget-state.js';
import type { BudgetPartition } from './budget-partition.js';

/** What is used and by whom, counted again from the ledger alone: written as naively as can be. */

type Sums = Map<string, { held: number; settled: number }>;

/** By level. */
export function sumsOf(ledger: readonly LedgerEntry[], tenant: string, window: number): Sums {
  const sums: Sums = new Map();
  for (const entry of ledger) {
    if (entry.tenant !== tenant || entry.window !== window) continue;
    for (const level of entry.path) {
      const { held, settled } = sums.get(level) ?? { held: 0, settled: 0 };
      sums.set(level, { held: held + entry.held, settled: settled + entry.settled });
    }
  }
  return sums;
}

/** The whole answer to a request that is decided for the first time, in exact fractions. */
export function expectedDecision(
  config: BudgetConfig,
  sums: Sums,
  { pipeline, priority, estimated }: { pipeline: string; priority: Priority; estimated: number },
): { verdict: string; level?: string; granted?: number } {
  const path: LevelConfig[] = [];
  for (let name: string | null = pipeline; name !== null; ) {
    const found: LevelConfig | undefined = config.levels.find((level) => level.name === name);
    if (found === undefined) return { verdict: 'unknown_pipeline' };
    path.unshift(found);
    name = found.parent;
  }
  if (path.length === 1) return { verdict: 'unknown_pipeline' };
  // Strictly above threshold × limit, without any rounding: tokens × 1,000,000 > limit × millionths.
  const above = (tokens: number, level: LevelConfig, millionths: number) =>
    BigInt(tokens) * 1_000_000n > BigInt(level.limit) * BigInt(millionths);
  const used = (level: LevelConfig) => {
    const { held, settled } = sums.get(level.name) ?? { held: 0, settled: 0 };
    return held + settled;
  };
  const refuses = (level: LevelConfig) =>
    priority === 'P0' ? level.p0 : priority === 'P2' ? (level.p2Hard ?? level.hard) : level.hard;
  const degrades = (level: LevelConfig) => (priority === 'P2' ? (level.p2Soft ?? level.soft) : level.soft);
  if (above(estimated, path[0]!, config.maxRequestShare))
    return { verdict: 'too_large', level: path[0]!.name };
  const never = path.find((level) => above(estimated, level, refuses(level)));
  if (never !== undefined) return { verdict: 'too_large', level: never.name };
  const refusing = path.find((level) => above(used(level) + estimated, level, refuses(level)));
  if (refusing !== undefined) return { verdict: 'refused', level: refusing.name };
  const degraded =
    priority !== 'P0' && path.some((level) => above(used(level) + estimated, level, degrades(level)));
  if (!degraded) return { verdict: 'ALLOW', granted: estimated };
  const granted = Number((BigInt(estimated) * BigInt(config.degradedDebit) + 999_999n) / 1_000_000n);
  return { verdict: 'ALLOW_DEGRADED', granted };
}

/** What a level would still admit, in whole tokens. */
export function expectedAvailable(
  config: BudgetConfig,
  sums: Sums,
  name: string,
  priority: Priority,
): number {
  const { limit, hard, p2Hard, p0 } = config.levels.find((level) => level.name === name)!;
  const millionths = { P0: p0, P1: hard, P2: p2Hard ?? hard }[priority];
  const { held, settled } = sums.get(name) ?? { held: 0, settled: 0 };
  const left = (BigInt(limit) * BigInt(millionths)) / 1_000_000n - BigInt(held + settled);
  return left > 0n ? Number(left) : 0;
}

/** Every window equals the ledger, and the holds that are open; every admission equals its entries. */
export function expectConserved(partition: BudgetPartition): void {
  const texts = Object.entries(partition.texts()).map(([name, text]) => [name.trimEnd(), text] as const);
  const ledger = partition.ledger();
  for (const tenant of ['acme', 'weyland']) {
    const own = ledger.filter((entry) => entry.tenant === tenant);
    const epochs = [...new Set(own.map(({ epoch }) => epoch))];
    expect(epochs).to.deep.equal(epochs.toSorted((one, other) => one - other));
    for (const epoch of epochs) {
      const numbers = own.filter((entry) => entry.epoch === epoch).map(({ seq }) => seq);
      expect(numbers).to.deep.equal(numbers.map((_, n) => n + 1));
    }
    // All that is known of a window is in one ledger.
    for (const start of new Set(own.map(({ window }) => window))) {
      const about = own.filter(({ window }) => window === start).map(({ epoch }) => epoch);
      expect(new Set(about).size).to.equal(1);
    }
    const windows: BudgetWindow[] = [];
    const admissions: Admission[] = [];
    let pastHolds = 0;
    let open: number | undefined;
    for (const [name, text] of texts) {
      if (name === `budget:${tenant}`) {
        const state = decodeBudget(text);
        expect(state.entries).to.equal(own.filter(({ epoch }) => epoch === state.epoch).length);
        pastHolds = state.pastHolds;
        open = state.window?.start;
        if (state.window !== null) windows.push(state.window);
      }
      if (name.startsWith(`budget-window:${tenant}:`)) windows.push(decodePastWindow(text));
      if (name.startsWith(`admission:${tenant}:`)) admissions.push(...decodeAdmissions(text).admissions);
    }
    const held = admissions.filter(({ status }) => status === 'held');
    expect(pastHolds).to.equal(held.filter(({ window }) => window !== open).length);
    expect(new Set(windows.map(({ start }) => start)).size).to.equal(windows.length);
    for (const window of windows) expectWindow(window, own, held, tenant);
    for (const { window } of held) expect(windows.map(({ start }) => start)).to.include(window);
    for (const admission of admissions) expectAdmission(admission, own);
    expectGone(own, windows, tenant);
    expectSnapshots(partition.snapshots(), own, windows, tenant);
  }
}

function expectWindow(
  window: BudgetWindow,
  ledger: readonly LedgerEntry[],
  held: readonly Admission[],
  tenant: string,
): void {
  const sums = sumsOf(ledger, tenant, window.start);
  const holds = held.filter((admission) => admission.window === window.start);
  expect(window.holds).to.equal(holds.length);
  expect(window.entries).to.equal(ledger.filter((entry) => entry.window === window.start).length);
  for (const level of sums.keys()) expect(window.levels.has(level), level).to.equal(true);
  for (const [level, use] of window.levels) {
    const { held: heldSum, settled } = sums.get(level) ?? { held: 0, settled: 0 };
    expect([use.held, use.settled]).to.deep.equal([heldSum, settled]);
    const ofHolds = holds.filter(({ path }) => path.includes(level)).map(({ granted }) => granted);
    expect(use.held).to.equal(ofHolds.reduce((sum, granted) => sum + granted, 0));
  }
}

function expectAdmission(admission: Admission, ledger: readonly LedgerEntry[]): void {
  // Who is told of a request that was forgotten meanwhile begins with a new admission of the same id.
  const own = ledger.filter((entry) => entry.admission === admission.ids[0] && entry.at >= admission.at);
  const held = own.reduce((sum, entry) => sum + entry.held, 0);
  const settled = own.reduce((sum, entry) => sum + entry.settled, 0);
  const open = admission.status === 'held';
  expect([held, settled]).to.deep.equal(open ? [admission.granted, 0] : [0, admission.charged]);
  expect(own.filter(({ kind }) => kind === 'grant').length).to.be.at.most(1);
}

/** Nothing is held of a window that is forgotten. */
function expectGone(ledger: readonly LedgerEntry[], windows: readonly BudgetWindow[], tenant: string): void {
  for (const start of new Set(ledger.map(({ window }) => window))) {
    if (windows.some((window) => window.start === start)) continue;
    for (const { held } of sumsOf(ledger, tenant, start).values()) expect(held).to.equal(0);
  }
}

/** The last snapshot of every window that nothing is held of is what the ledger says, and revisions count up. */
function expectSnapshots(
  all: readonly BudgetSnapshot[],
  ledger: readonly LedgerEntry[],
  windows: readonly BudgetWindow[],
  tenant: string,
): void {
  const snapshots = all.filter((snapshot) => snapshot.tenant === tenant);
  const ended = ledger.filter(({ kind }) => kind === 'reset').map(({ window }) => window);
  expect(new Set(ended).size).to.equal(ended.length);
  for (const start of ended) {
    const own = snapshots.filter((snapshot) => snapshot.start === start);
    expect(own.map(({ revision }) => revision)).to.deep.equal(own.map((_, n) => n + 1));
    const holds = windows.find((window) => window.start === start)?.holds ?? 0;
    expect(own.length > 0).to.equal(holds === 0);
    const last = own.at(-1);
    if (last === undefined) continue;
    const sums = sumsOf(ledger, tenant, start);
    expect(last.entries).to.equal(ledger.filter(({ window }) => window === start).length);
    expect(new Map(last.levels.map(({ name, settled }) => [name, settled]))).to.deep.equal(
      new Map(last.levels.map(({ name }) => [name, sums.get(name)?.settled ?? 0])),
    );
    for (const level of sums.keys()) expect(last.levels.map(({ name }) => name)).to.include(level);
  }
}
