import { setImmediate } from 'node:timers/promises';
import type { WindowSettings } from '../../../rules/windows/context.js';
import { type ColdEvent, correct } from '../../../rules/windows/correct.js';
import type { UsageEvent } from '../../../rules/windows/usage-event.js';
import type { StoredWindow } from '../../../shared/messages/window-emission.js';
import type { Refusal } from './bisect.js';
import type { Customer } from './customers.js';
import type { Transaction } from './transaction.js';
import type { UsageRow } from './usage-row.js';
import { lockWindows } from './window-rows.js';

/** A window can have a hundred names and as many buckets: the event loop turns after so many. */
const WINDOWS_PER_TURN = 20;

/** A window that has left Redis, the cold events of it in this batch, and what they make of it. */
export interface ColdWindow {
  readonly customer: Customer;
  readonly start: number;
  readonly stored: StoredWindow | null;
  rows: readonly UsageRow[];
  window: StoredWindow;
}

export type CorrectionSettings = Pick<WindowSettings, 'windowMs' | 'dimensionsMax'>;

/**
 * Counts cold events in their windows, which stay locked until the transaction ends. Their rows learn in which
 * revision they count.
 */
export class ColdWindows {
  private constructor(
    private readonly settings: CorrectionSettings,
    private all: readonly ColdWindow[],
    /** Events that the sums of their window have no room for. */
    readonly refused: readonly Refusal<UsageRow>[],
  ) {}

  static async of(
    tx: Transaction,
    rows: readonly UsageRow[],
    settings: CorrectionSettings,
  ): Promise<ColdWindows> {
    const groups = groupByWindow(rows);
    const stored = await lockWindows(tx, groups);
    const refused: Refusal<UsageRow>[] = [];
    const all: ColdWindow[] = [];
    for (const [i, { customer, start, rows: cold }] of groups.entries()) {
      if (i % WINDOWS_PER_TURN === WINDOWS_PER_TURN - 1) await setImmediate();
      const found = stored[i] ?? null;
      const counted = count(found, cold, settings, refused);
      if (counted === undefined) continue;
      const { revision } = counted.window;
      for (const row of counted.rows) row.revision = revision;
      all.push({ customer, start, stored: found, ...counted });
    }
    return new ColdWindows(settings, all, refused);
  }

  /** These rows have not been inserted: they are not to be counted. */
  leaveOut(rows: ReadonlySet<UsageRow>): void {
    const left: ColdWindow[] = [];
    for (const cold of this.all) {
      const kept = cold.rows.filter((row) => !rows.has(row));
      if (kept.length === 0) continue;
      const changed = kept.length < cold.rows.length;
      left.push(
        changed
          ? { ...cold, rows: kept, window: correct(cold.stored, kept.map(eventOf), this.settings) }
          : cold,
      );
    }
    this.all = left;
  }

  get windows(): readonly ColdWindow[] {
    return this.all;
  }
}

/** All of the rows, or where a sum would no longer be exact those that there is room for. */
function count(
  stored: StoredWindow | null,
  rows: readonly UsageRow[],
  settings: CorrectionSettings,
  refused: Refusal<UsageRow>[],
): Pick<ColdWindow, 'rows' | 'window'> | undefined {
  try {
    return { rows, window: correct(stored, rows.map(eventOf), settings) };
  } catch {
    // One after the other, below.
  }
  const kept: UsageRow[] = [];
  let window: StoredWindow | undefined;
  for (const row of rows) {
    // All of them are one revision.
    const before = window === undefined ? stored : { ...window, revision: window.revision - 1 };
    try {
      window = correct(before, [eventOf(row)], settings);
      kept.push(row);
    } catch (error) {
      refused.push({ item: row, error: (error as Error).message });
    }
  }
  return window === undefined ? undefined : { rows: kept, window };
}

function eventOf({ event: { message, entry, index } }: UsageRow): ColdEvent {
  // The row reader has checked it.
  return { event: message as UsageEvent, place: { entry, index } };
}

function groupByWindow(
  rows: readonly UsageRow[],
): { readonly customer: Customer; readonly start: number; readonly rows: UsageRow[] }[] {
  const groups: { readonly customer: Customer; readonly start: number; readonly rows: UsageRow[] }[] = [];
  const byCustomer = new Map<Customer, Map<number, UsageRow[]>>();
  for (const row of rows) {
    const { customer, windowStart: start } = row;
    const byStart = byCustomer.get(customer) ?? new Map<number, UsageRow[]>();
    byCustomer.set(customer, byStart);
    const group = byStart.get(start) ?? [];
    if (group.length === 0) {
      byStart.set(start, group);
      groups.push({ customer, start, rows: group });
    }
    group.push(row);
  }
  return groups;
}
