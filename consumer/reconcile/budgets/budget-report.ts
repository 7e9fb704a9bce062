import type {
  BudgetDifference,
  BudgetReconciliation,
} from '../../../shared/reconciliation/budget-reconciliation.js';
import { isDate } from './hot-budgets.js';

/** What `npm run reconcile` prints of budgets. */
export function budgetsAsText(result: BudgetReconciliation, seconds: number): string {
  const { comparedWindows, comparedHolds, behind, outside, lost, drifted, drift } = result;
  const holds = comparedHolds > 0 ? ` and ${comparedHolds} holds` : '';
  const lines = [
    `${comparedWindows} budget windows${holds} compared with the ledger in ${seconds.toFixed(1)} s`,
    ...(behind > 0 ? [`${behind} in Redis are ahead of Postgres: not compared this time`] : []),
    ...(outside > 0 ? [`${outside} are older than the ledger that is kept: not compared`] : []),
    ...(lost > 0 ? [`${lost} never ended, because Redis lost them: not compared`] : []),
  ];
  if (drifted === 0) return [...lines, 'no drift of budgets'].join('\n');
  const more = result.drift.length < drifted ? ['…'] : [];
  return [...lines, `BUDGET DRIFT in ${drifted} place(s):`, ...drift.map(differenceText), ...more].join('\n');
}

const PLACES = { redis: 'Redis', postgres: 'Postgres', ledger: 'the ledger' } as const;

function differenceText(difference: BudgetDifference): string {
  const { tenant, window, level, admission, place, field, expected, found } = difference;
  const about = ['', tenant, window, level, admission].filter((each) => each !== undefined).join(' ');
  if (field === 'document') return ` ${about}: the document in Redis cannot be read`;
  if (field === 'row') return ` ${about}: no window in Postgres for ${expected} entries of the ledger`;
  if (field === 'revision') {
    return ` ${about}: the window in Postgres is made of ${found} entries, the ledger has ${expected}`;
  }
  if (field === 'stuck hold' || field === 'stuck window') {
    const due = found === 0 ? 'has no timer' : `has a timer for ${isoOf(found)} only`;
    return ` ${about}: the ${field.slice('stuck '.length)} is to end at ${isoOf(expected)} and ${due}`;
  }
  if (field === 'seq')
    return ` ${about}: entry ${expected} of the ledger is missing, the next one is ${found}`;
  return ` ${about} ${field}: ${PLACES[place]} says ${found}, the ledger says ${expected}`;
}

/** Of whatever is stored: it may be no time. */
function isoOf(ms: number): string {
  return isDate(ms) ? new Date(ms).toISOString() : String(ms);
}
