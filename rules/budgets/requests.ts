import {
  ACTUAL_TOKENS_MAX,
  ADMISSION_ID,
  type AdmissionRequest,
  type BudgetsPut,
  type CancelRequest,
  EVALUATE_DEDUPE_MS_MAX,
  type FailedOpen,
  type SettleRequest,
} from '../../shared/messages/admissions.js';
import { BUDGET_WINDOW_MS_MAX, type BudgetConfig, PRIORITIES } from '../../shared/state/budget-config.js';

/*
 * The data of messages, checked as far as a fold would trip over them, or could never take them out of a sum again. All
 * throw for anything else: it becomes a dead letter.
 */

type Fields<T> = { readonly [Key in keyof T]?: unknown };

export function admissionRequestOf(data: unknown): AdmissionRequest {
  const fields = fieldsOf<AdmissionRequest>(data);
  requireText(fields.pipeline, 'pipeline');
  if (!(PRIORITIES as readonly unknown[]).includes(fields.priority))
    throw new Error('the priority is unknown');
  requireCount(fields.estimated, 1, Number.MAX_SAFE_INTEGER, 'estimated');
  requireId(fields.admission);
  if (typeof fields.keyed !== 'boolean') throw new Error('keyed is neither true nor false');
  if (fields.fleeting !== undefined && fields.fleeting !== true) throw new Error('fleeting is not true');
  requireText(fields.body, 'body');
  if (fields.dedupeMs !== undefined) requireCount(fields.dedupeMs, 1, EVALUATE_DEDUPE_MS_MAX, 'dedupeMs');
  if (fields.holdMs !== undefined) requireCount(fields.holdMs, 1, BUDGET_WINDOW_MS_MAX, 'holdMs');
  return data as AdmissionRequest;
}

export function failedOpenOf(data: unknown): FailedOpen {
  const request = admissionRequestOf(data);
  requireCount(request.estimated, 1, ACTUAL_TOKENS_MAX, 'estimated');
  const { settled, asked, waitedMs } = fieldsOf<FailedOpen>(data);
  if (typeof settled !== 'boolean') throw new Error('settled is neither true nor false');
  if (asked !== undefined) requireId(asked);
  if (waitedMs !== undefined) requireCount(waitedMs, 0, Number.MAX_SAFE_INTEGER, 'waitedMs');
  return data as FailedOpen;
}

export function settleRequestOf(data: unknown): SettleRequest {
  const fields = fieldsOf<SettleRequest>(data);
  requireId(fields.admission);
  requireCount(fields.actual, 0, ACTUAL_TOKENS_MAX, 'actual');
  return data as SettleRequest;
}

export function cancelRequestOf(data: unknown): CancelRequest {
  requireId(fieldsOf<CancelRequest>(data).admission);
  return data as CancelRequest;
}

/** Whether its levels are a tree, the fold finds out. */
export function budgetsPutOf(data: unknown): BudgetsPut {
  const { config } = fieldsOf<BudgetsPut>(data);
  const { appliedAt, version, levels, windowMs } = fieldsOf<BudgetConfig>(config);
  requireCount(appliedAt, 0, Number.MAX_SAFE_INTEGER, 'appliedAt');
  requireCount(version, 0, Number.MAX_SAFE_INTEGER, 'version');
  if (windowMs !== null) requireCount(windowMs, 1, Number.MAX_SAFE_INTEGER, 'windowMs');
  if (!Array.isArray(levels)) throw new Error('there are no levels');
  return data as BudgetsPut;
}

function fieldsOf<T>(data: unknown): Fields<T> {
  if (typeof data !== 'object' || data === null) throw new Error('the data are not an object');
  return data;
}

function requireId(value: unknown): void {
  if (typeof value !== 'string' || !ADMISSION_ID.test(value)) throw new Error('the admission is no id');
}

function requireText(value: unknown, name: string): void {
  if (typeof value !== 'string') throw new Error(`the ${name} is no text`);
}

function requireCount(value: unknown, min: number, max: number, name: string): void {
  if (Number.isSafeInteger(value) && (value as number) >= min && (value as number) <= max) return;
  throw new Error(`${name} is not a whole number from ${min} to ${max}`);
}
