import { admissionDocument } from '../../../shared/keys.js';
import { admissionKey } from '../../../shared/messages/admissions.js';
import type { BudgetDifference } from '../../../shared/reconciliation/budget-reconciliation.js';
import { decodeAdmissions } from '../../../shared/state/budget-codec.js';
import type { Admission, AdmissionDocument } from '../../../shared/state/budget-state.js';
import { isText } from '../../sinks/postgres/customers.js';
import { type Snapshot, withSnapshot } from '../archive-snapshot.js';
import { type BudgetWindowKey, byTenant } from './budget-window-key.js';
import type { BudgetCompareOptions } from './compare-budgets.js';
import { type HotBudgetReader, isDate, type Read, readText } from './hot-budgets.js';
import { readLedgerBegin, readLedgerBeginAfter } from './ledger-begin.js';

/** Small documents, and each read costs a look at their windows. */
const HOLDS_PER_READ = 2000;

/** An admission that is, or may be, held. */
export interface HoldKey {
  readonly tenant: string;
  /** Its first id: what the ledger calls it. */
  readonly id: string;
  /** Start of the window that granted it, ms. */
  readonly window: number;
}

export interface ComparedHolds {
  readonly compared: number;
  readonly behind: number;
  readonly outside: number;
  readonly differences: readonly BudgetDifference[];
}

/** Holds of one window that were read together. */
interface HoldGroup {
  readonly tenant: string;
  readonly partition: number;
  readonly epoch: number;
  readonly window: number;
  /** The ledger's last entry that the documents take account of. */
  readonly seq: number;
  /** Tokens that each admission holds, by its id; undefined: the document cannot be read. */
  readonly held: Map<string, number | undefined>;
}

/** Served by budget_ledger_window (tenant_id, epoch, window_start): what an admission holds is all in one window. */
const HELD = `
SELECT admission_id AS id, sum(held)::text AS held
FROM budget_ledger
WHERE tenant_id = $1 AND epoch = $2 AND window_start = $3 AND at >= $3 AND seq <= $4 AND admission_id = ANY ($5)
GROUP BY admission_id`;

/**
 * Holds admissions in Redis against the ledger: what one holds is what its entries add up to. With the windows, whose
 * `held` is compared with the same entries, it proves that `held` is the sum of the held admissions. As there, a
 * tenant's documents are read in one command with the number of the ledger's last entry.
 * @param which `missing`: only those that hold nothing in Redis
 */
export async function compareHolds(
  options: BudgetCompareOptions,
  holds: readonly HoldKey[],
  which: 'all' | 'missing',
): Promise<ComparedHolds> {
  const { groups, unknown } = await readGroups(options.hot, holds);
  if (which === 'missing') leaveMissing(groups);
  const reached = await options.progress.reached(
    groups.map(({ partition }) => partition),
    true,
  );
  const ahead = groups.filter(({ partition }) => !reached.has(partition));
  const comparable = groups.filter(({ partition }) => reached.has(partition));
  const found = await withSnapshot(options, async (snapshot) => {
    const keptFromMs = await readLedgerBegin(snapshot);
    const asked = comparable.filter(({ window }) => window >= keptFromMs);
    const differences: BudgetDifference[] = [];
    for (const group of asked) differences.push(...(await compareGroup(snapshot, group)));
    const compared = sizeOf(asked);
    const outside = sizeOf(comparable) - compared;
    return { compared, behind: unknown + sizeOf(ahead), outside, differences };
  });
  if (found.differences.length === 0) return found;
  const keptFrom = new Date(await readLedgerBeginAfter(options)).toISOString();
  const differences = found.differences.filter(({ window = keptFrom }) => window >= keptFrom);
  return { ...found, differences };
}

/** @returns holds of which it is not known, or only to a newer version, what they hold, are only counted */
async function readGroups(
  hot: HotBudgetReader,
  holds: readonly HoldKey[],
): Promise<{ readonly groups: HoldGroup[]; readonly unknown: number }> {
  const groups: HoldGroup[] = [];
  let unknown = 0;
  for (const [tenant, all] of byTenant(holds)) {
    for (let i = 0; i < all.length; i += HOLDS_PER_READ) {
      const some = all.slice(i, i + HOLDS_PER_READ);
      const names = some.map(({ id }) => admissionDocument(tenant, admissionKey(id)));
      const { state, texts } = await hot.readWith(tenant, names, []);
      if (state.kind !== 'read') {
        unknown += some.length;
        continue;
      }
      const { epoch, entries: seq } = state.value;
      const byWindow = new Map<number, HoldGroup>();
      for (const [n, { id, window }] of some.entries()) {
        const document = readText(texts[n] ?? null, decodeAdmissions);
        let group = byWindow.get(window);
        if (group === undefined) {
          group = { tenant, partition: hot.partitionOf(tenant), epoch, window, seq, held: new Map() };
          byWindow.set(window, group);
        }
        if (document.kind === 'newer') unknown += 1;
        else group.held.set(id, heldBy(document, id, window));
      }
      groups.push(...byWindow.values());
    }
  }
  return { groups, unknown };
}

function leaveMissing(groups: readonly HoldGroup[]): void {
  for (const { held } of groups) {
    for (const [id, tokens] of held) if (tokens !== 0) held.delete(id);
  }
}

function heldBy(document: Read<AdmissionDocument>, id: string, window: number): number | undefined {
  if (document.kind === 'broken' || !isDate(window)) return undefined;
  if (document.kind !== 'read') return 0;
  return document.value.admissions
    .filter((each) => isHeld(each) && each.ids[0] === id && each.window === window)
    .reduce((sum, { granted }) => sum + granted, 0);
}

/** The admissions of a document that hold something. */
export function heldIn(tenant: string, { admissions }: AdmissionDocument): HoldKey[] {
  return admissions.filter(isHeld).map(({ ids, window }) => ({ tenant, id: ids[0]!, window }));
}

function isHeld({ status }: Admission): boolean {
  return status === 'held';
}

async function compareGroup(snapshot: Snapshot, group: HoldGroup): Promise<BudgetDifference[]> {
  const { tenant, epoch, window, seq, held } = group;
  const place = 'redis';
  if (!isDate(window)) {
    return [...held.keys()].map((admission) => ({
      ...{ tenant, admission, place, field: 'document', expected: 0, found: 0 },
    }));
  }
  const start = new Date(window);
  const ids = [...held.keys()].filter(isText);
  const rows = await snapshot.query<{ id: string; held: string }>(HELD, [tenant, epoch, start, seq, ids]);
  const ledger = new Map(rows.map((row) => [row.id, Number(row.held)]));
  const differences: BudgetDifference[] = [];
  for (const [admission, found] of held) {
    const expected = ledger.get(admission) ?? 0;
    const about = { tenant, window: start.toISOString(), admission, place, expected } as const;
    if (found === undefined) differences.push({ ...about, field: 'document', found: 0 });
    else if (found !== expected) differences.push({ ...about, field: 'held', found });
  }
  return differences;
}

function sizeOf(groups: readonly HoldGroup[]): number {
  return groups.reduce((sum, { held }) => sum + held.size, 0);
}

/** Served by budget_ledger_window. */
const OPEN_BY_LEDGER = `
SELECT admission_id AS id
FROM budget_ledger
WHERE tenant_id = $1 AND epoch = $2 AND window_start = $3 AND at >= $3 AND admission_id > $4
GROUP BY admission_id HAVING sum(held) <> 0
ORDER BY admission_id LIMIT $5`;

/** Admissions of a window that by the ledger hold something at this moment, in pages. */
export async function* holdsByLedger(
  options: BudgetCompareOptions,
  { tenant, epoch, start }: BudgetWindowKey,
  pageSize: number,
): AsyncGenerator<readonly HoldKey[]> {
  for (let after = ''; ; ) {
    const rows = await withSnapshot(options, (snapshot) =>
      snapshot.query<{ id: string }>(OPEN_BY_LEDGER, [tenant, epoch, new Date(start), after, pageSize]),
    );
    if (rows.length > 0) yield rows.map(({ id }) => ({ tenant, id, window: start }));
    if (rows.length < pageSize) return;
    after = rows.at(-1)!.id;
  }
}
