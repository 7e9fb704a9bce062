import { admissionsExpireAt, budgetExpiresAt } from '../../../rules/budgets.js';
import * as codec from '../../../shared/state/budget-codec.js';
import type { AdmissionDocument, BudgetState, PastWindow } from '../../../shared/state/budget-state.js';

/** What the documents of the topic `admissions` are, by their names. */
export type BudgetDocument = AdmissionDocument | BudgetState | PastWindow;

/** From when on nobody looks at it any more, ms since the epoch. */
export function expiresAt(name: string, document: BudgetDocument): number | undefined {
  if (name.startsWith('admission:')) return admissionsExpireAt(document as AdmissionDocument);
  if (name.startsWith('budget-window:')) return (document as PastWindow).keepUntil ?? undefined;
  return budgetExpiresAt(document as BudgetState);
}

export function encode(name: string, document: BudgetDocument): string {
  if (name.startsWith('admission:')) return codec.encodeAdmissions(document as AdmissionDocument);
  if (name.startsWith('budget-window:')) return codec.encodePastWindow(document as PastWindow);
  return codec.encodeBudget(document as BudgetState);
}

export function decode(name: string, text: string): BudgetDocument {
  if (name.startsWith('admission:')) return codec.decodeAdmissions(text);
  return name.startsWith('budget-window:') ? codec.decodePastWindow(text) : codec.decodeBudget(text);
}

/** Without what only a step knows. */
export function comparable(document: BudgetDocument): unknown {
  return 'owner' in document ? { ...document, owner: undefined } : document;
}
