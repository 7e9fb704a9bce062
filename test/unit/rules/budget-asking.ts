import type { BudgetSettings } from '../../../shared/budget-settings.js';
import type {
  AdmissionRequest,
  AdmitReply,
  BudgetsPut,
  BudgetsPutReply,
  EndReply,
  EvaluateReply,
  FailedOpen,
} from '../../../shared/messages/admissions.js';
import type { BudgetConfig } from '../../../shared/state/budget-config.js';
import type { Admission } from '../../../shared/state/budget-state.js';
import { admissionId, budgetMessage, budgets, put, request } from './budget-messages.js';
import { BudgetPartition, SETTINGS } from './budget-partition.js';

/** Begins a window of 30 s. */
export const NOON = Date.UTC(2026, 10, 20, 12);

let keys = 0;

/** An id with a key of its own. */
export function freshId(): string {
  keys += 1;
  return admissionId(`k${keys}`);
}

/** A partition in which these budgets apply since NOON. */
export function partitionWith(
  config: BudgetConfig = budgets(),
  settings: BudgetSettings = SETTINGS,
): BudgetPartition {
  const made = new BudgetPartition(settings);
  putBudgets(made, NOON, config);
  return made;
}

export function admit(to: BudgetPartition, at: number, asked: Partial<AdmissionRequest> = {}): AdmitReply {
  return to.ask(at, budgetMessage('admit', request({ admission: freshId(), ...asked })));
}

/** An admission that is granted. @throws when it is not */
export function granted(to: BudgetPartition, at: number, asked: Partial<AdmissionRequest> = {}): Admission {
  const reply = admit(to, at, asked);
  if (reply.kind !== 'admitted') throw new Error(`not admitted: ${reply.kind}`);
  return reply.admission;
}

export function evaluate(
  to: BudgetPartition,
  at: number,
  asked: Partial<AdmissionRequest> = {},
): EvaluateReply {
  return to.ask(at, budgetMessage('evaluate', request({ admission: freshId(), ...asked })));
}

export function settle(
  to: BudgetPartition,
  at: number,
  { ids }: Pick<Admission, 'ids'>,
  actual: number,
): EndReply {
  return to.ask(at, budgetMessage('settle', { admission: ids.at(-1)!, actual }));
}

export function cancel(to: BudgetPartition, at: number, { ids }: Pick<Admission, 'ids'>): EndReply {
  return to.ask(at, budgetMessage('cancel', { admission: ids.at(-1)! }));
}

export function failOpen(to: BudgetPartition, at: number, asked: Partial<FailedOpen> = {}): void {
  const data = { ...request({ admission: freshId(), ...asked }), settled: asked.settled ?? false };
  const { reply: _nobodyWaits, ...message } = budgetMessage('failed_open', data);
  to.ask(at, message);
}

export function putBudgets(
  to: BudgetPartition,
  at: number,
  config: BudgetConfig,
  rest: Partial<BudgetsPut> = {},
): BudgetsPutReply {
  return to.ask(at, budgetMessage('budgets_put', put(config, rest)));
}

/** Settled and held at a level of the open window. */
export function used(of: BudgetPartition, level = 'monitoring'): [settled: number, held: number] {
  const use = of.state()?.window?.levels.get(level);
  return [use?.settled ?? 0, use?.held ?? 0];
}

/** What the ledger says, in short. */
export function entries(
  of: BudgetPartition,
): [kind: string, window: number, held: number, settled: number][] {
  return of.ledger().map(({ kind, window, held, settled }) => [kind, window - NOON, held, settled]);
}
