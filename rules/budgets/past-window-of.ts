import { CANCEL, FAILED_OPEN, SETTLE } from '../../shared/messages/admissions.js';
import type { Message } from '../../shared/messages/message.js';
import type { Admission } from '../../shared/state/budget-state.js';
import { parseBudgetTimer } from './budget-timer.js';
import type { BudgetStates } from './context.js';

/**
 * Start of a window that is over and that this input will change, given what is known now: its document is needed.
 * One that ends between this question and the fold was written by the same step, and need not be loaded.
 * @throws for a timer that is none of budgets
 */
export function pastWindowOf(
  what: { readonly message: Message } | { readonly timer: string },
  { state, admissions }: Pick<BudgetStates, 'state' | 'admissions'>,
): number | undefined {
  const all = admissions?.admissions ?? [];
  const admission = 'message' in what ? admissionOf(what.message, all) : ofTimer(what.timer, all);
  if (admission === undefined || admission.window === state?.window?.start) return undefined;
  const { status, expiry } = admission;
  return status === 'held' || (status === 'expired' && expiry === 'charge') ? admission.window : undefined;
}

function admissionOf({ type, data }: Message, all: readonly Admission[]): Admission | undefined {
  if (type === FAILED_OPEN) return all.at(-1);
  if (type !== SETTLE && type !== CANCEL) return undefined;
  const id = (data as { readonly admission?: unknown } | null)?.admission;
  return typeof id === 'string' ? all.findLast(({ ids }) => ids.includes(id)) : undefined;
}

function ofTimer(id: string, all: readonly Admission[]): Admission | undefined {
  return parseBudgetTimer(id).kind === 'hold' ? all.at(-1) : undefined;
}
