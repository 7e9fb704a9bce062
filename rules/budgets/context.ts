import type { BudgetSettings } from '../../shared/budget-settings.js';
import type { Effect } from '../../shared/effects.js';
import type { LedgerKind } from '../../shared/messages/budget-emissions.js';
import type { AdmissionDocument, BudgetState, PastWindow } from '../../shared/state/budget-state.js';

/** How documents and timers are called: `shared/keys.ts` makes the names. */
export interface BudgetNames {
  /** Also the id of the timer that ends a hold. */
  admissionDocument(tenant: string, key: string): string;
  budgetResetTimer(tenant: string): string;
  /** Index of tenants whose budgets were applied, by when. */
  readonly configuredIndex: string;
}

/** What a fold is told besides the states. */
export interface BudgetContext {
  readonly tenant: string;
  /** The partition's time, ms since the epoch: never goes back. */
  readonly at: number;
  readonly settings: BudgetSettings;
  readonly names: BudgetNames;
  /** The step that is folded: drafts that bear it may be changed, all else is copied first. */
  readonly step: object;
}

/** Documents as earlier inputs of the step left them. */
export interface BudgetStates {
  readonly state: BudgetState | null;
  /** null too for messages that have none. */
  readonly admissions: AdmissionDocument | null;
  /** The document of the window that began then and is over. */
  past(start: number): PastWindow | null;
}

/** What is absent is unchanged. A draft of this step is given back changed in place. */
export interface BudgetFolded {
  readonly state?: BudgetState;
  readonly admissions?: AdmissionDocument;
  /** null: the document goes. */
  readonly past?: readonly (readonly [start: number, window: PastWindow | null])[];
  readonly effects: readonly Effect[];
}

/** What one entry of the ledger does to every level of an admission's path. */
export interface Posting {
  readonly kind: LedgerKind;
  readonly held: number;
  readonly settled: number;
  readonly tokens?: number;
}
