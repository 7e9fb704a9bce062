import {
  ADMIT,
  CANCEL,
  FAILED_OPEN,
  type FailedOpen,
  isGivenUndecided,
  SETTLE,
} from '../../shared/messages/admissions.js';
import type { Message } from '../../shared/messages/message.js';
import type { Admission } from '../../shared/state/budget-state.js';
import { parseBudgetTimer } from './budget-timer.js';
import type { BudgetStates } from './context.js';

/**
 * Starts of windows that are over and that this input may change, given what is known now: their documents are needed.
 * One that ends between this question and the fold was written by the same step, and need not be loaded.
 * @throws for a timer that is none of budgets
 */
export function pastWindowsOf(
  what: { readonly message: Message } | { readonly timer: string },
  { state, admissions }: Pick<BudgetStates, 'state' | 'admissions'>,
): readonly number[] {
  const all = admissions?.admissions ?? [];
  const starts = new Set<number>();
  for (const admission of 'message' in what ? admissionsOf(what.message, all) : ofTimer(what.timer, all)) {
    const { status, expiry, window } = admission;
    const mayChange = status === 'held' || (status === 'expired' && expiry === 'charge');
    if (mayChange && window !== state?.window?.start) starts.add(window);
  }
  return [...starts];
}

function admissionsOf({ type, data }: Message, all: readonly Admission[]): readonly Admission[] {
  if (all.length === 0) return all;
  // Nobody has looked at the data yet.
  const { admission, asked } = (data ?? {}) as { readonly [Key in keyof FailedOpen]?: unknown };
  const withId = (id: unknown) => all.filter(({ ids }) => ids.some((each) => each === id));
  const mayEnd = type === ADMIT && typeof admission === 'string' && isGivenUndecided(admission);
  if (type === FAILED_OPEN || mayEnd) return [...withId(admission), ...withId(asked), all.at(-1)!];
  return type === SETTLE || type === CANCEL ? withId(admission) : [];
}

function ofTimer(id: string, all: readonly Admission[]): readonly Admission[] {
  return parseBudgetTimer(id).kind === 'hold' ? all.slice(-1) : [];
}
