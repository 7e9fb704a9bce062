import type { BudgetDifference } from '../../../shared/reconciliation/budget-reconciliation.js';
import type { AdmissionDocument, BudgetWindow } from '../../../shared/state/budget-state.js';
import type { BudgetWindowKey } from './budget-window-key.js';
import { isDate, UNREADABLE } from './hot-budgets.js';

/*
 * Whatever is to end by itself has a timer, which is set and removed by the commit that writes the document. So what is
 * open and has none, or one that comes too late, will stay for ever: with its tokens held, with its budget used up. The
 * ledger agrees with it, so nothing else tells. Document and timer are read at one moment and no clock is asked: a timer
 * that is there and due is late, no more.
 */

type About = Pick<BudgetDifference, 'tenant' | 'window'>;

export function aboutWindow({ tenant, start }: Pick<BudgetWindowKey, 'tenant' | 'start'>): About {
  if (start === UNREADABLE || !isDate(start)) return { tenant };
  return { tenant, window: new Date(start).toISOString() };
}

/** @param dueAt of the timer that ends the tenant's open window, ms; null: there is none */
export function stuckWindow(
  tenant: string,
  { start, end }: BudgetWindow,
  dueAt: number | null,
): BudgetDifference[] {
  if (dueAt !== null && dueAt <= end) return [];
  return [stuck({ ...aboutWindow({ tenant, start }), field: 'stuck window' }, end, dueAt)];
}

/** @param dueAt of the document's timer, ms; null: there is none */
export function stuckHolds(
  tenant: string,
  { admissions }: AdmissionDocument,
  dueAt: number | null,
): BudgetDifference[] {
  return admissions.flatMap(({ status, ids, window, expiresAt }) => {
    const end = expiresAt ?? 0;
    if (status !== 'held' || (dueAt !== null && dueAt <= end)) return [];
    const about = { ...aboutWindow({ tenant, start: window }), admission: ids[0]! };
    return [stuck({ ...about, field: 'stuck hold' }, end, dueAt)];
  });
}

/** Whether it is about something that will not end, of which the ledger says nothing. */
export function isStuck({ field }: BudgetDifference): boolean {
  return field === 'stuck window' || field === 'stuck hold';
}

function stuck(
  about: Pick<BudgetDifference, 'tenant' | 'window' | 'admission' | 'field'>,
  end: number,
  dueAt: number | null,
): BudgetDifference {
  return { ...about, place: 'redis', expected: end, found: dueAt ?? 0 };
}
