import { ADMIT, BUDGETS_PUT, CANCEL, EVALUATE, FAILED_OPEN, SETTLE } from '../shared/messages/admissions.js';
import type { Message } from '../shared/messages/message.js';
import { admit, evaluate } from './budgets/admit.js';
import { Books } from './budgets/books.js';
import { parseBudgetTimer } from './budgets/budget-timer.js';
import type { BudgetContext, BudgetFolded, BudgetStates } from './budgets/context.js';
import { cancel, expire, settle } from './budgets/end.js';
import { failOpen } from './budgets/failed-open.js';
import { putBudgets } from './budgets/put.js';
import {
  admissionRequestOf,
  budgetsPutOf,
  cancelRequestOf,
  failedOpenOf,
  settleRequestOf,
} from './budgets/requests.js';

export { admissionsExpireAt, findAdmission } from './budgets/admission-document.js';
export { budgetExpiresAt, budgetsBornAgain } from './budgets/born-again.js';
export { parseBudgetTimer } from './budgets/budget-timer.js';
export type { BudgetContext, BudgetFolded, BudgetStates } from './budgets/context.js';
export { capsOf, configOf, largestRequest, pathOf, treeOf } from './budgets/levels.js';
export { pastWindowsOf } from './budgets/past-windows-of.js';

/**
 * Budgets: who may spend what, decided for all levels of a tenant at once. A window's life:
 *
 *   (none) ── admit, evaluate, overrun, fail_open ──► open ── its end: `reset` ──► past ── nothing held ──► emitted ─┐
 *                                                                                   │ ↺ settle, cancel, expire      │
 *                                                  gone ◄── nothing to give back ───┴───────────────◄───────────────┤
 *                                                                    emitted again ◄── a charge is given back ──────┘
 *
 * Everything is decided by the partition's time `at`, and every token is an integer.
 * @throws for a message that cannot be understood, before anything is changed
 */
export function foldBudgetMessage(
  message: Message,
  states: BudgetStates,
  context: BudgetContext,
): BudgetFolded {
  const books = new Books(states, context, message.reply);
  books.endWindowDue(context.at);
  const { type, data } = message;
  switch (type) {
    case ADMIT:
      books.reply(admit(books, admissionRequestOf(data)));
      break;
    case EVALUATE:
      books.reply(evaluate(books, admissionRequestOf(data)));
      break;
    case SETTLE:
      books.reply(settle(books, settleRequestOf(data)));
      break;
    case CANCEL:
      books.reply(cancel(books, cancelRequestOf(data)));
      break;
    case FAILED_OPEN:
      failOpen(books, failedOpenOf(data));
      break;
    case BUDGETS_PUT:
      books.reply(putBudgets(books, budgetsPutOf(data)));
      break;
    default:
      throw new Error(`unknown message type ${type.slice(0, 100)}`);
  }
  return books.close();
}

/**
 * A window ends, or a hold's time is over. A timer that has come too early sets itself again.
 * @throws for a timer that is none of budgets
 */
export function foldBudgetTimer(
  id: string,
  _dueAt: number,
  states: BudgetStates,
  context: BudgetContext,
): BudgetFolded {
  const timer = parseBudgetTimer(id);
  const books = new Books(states, context, undefined);
  if (timer.kind === 'hold') {
    // One that ends at this very moment has its own timer.
    books.endWindowDue(context.at - 1);
    expire(books, timer.key);
    return books.close();
  }
  books.endWindowDue(context.at);
  const window = books.present?.window ?? null;
  if (window !== null) books.setResetTimer(window.end);
  return books.close();
}
