import type {
  AdmissionRequest,
  BudgetsPut,
  CancelRequest,
  FailedOpen,
  SettleRequest,
} from '../../../shared/messages/admissions.js';
import { givenMinute } from '../../../shared/messages/given-minute.js';
import type { Message } from '../../../shared/messages/message.js';
import { type BudgetConfig, DEFAULT_BUDGETS, type LevelConfig } from '../../../shared/state/budget-config.js';

export const TENANT = 'acme';

let made = 0;

const GIVEN_AT = Date.UTC(2026, 10, 20, 12);

/** Ids of one key share their first 16 characters. `n`: which of them. `at`: when one is given undecided, ms. */
export function admissionId(
  key: string,
  n: number | string = 0,
  where: 'a' | 'o' = 'a',
  at = GIVEN_AT,
): string {
  const tail = where === 'a' ? String(n).padStart(7, '0') : givenMinute(at) + String(n).padStart(3, '0');
  return `${key.padEnd(16, '_')}${where}${tail}`;
}

/** What is not said: a P1 of 100 tokens at `monitoring` with the key `k`. */
export function request(asked: Partial<AdmissionRequest> = {}): AdmissionRequest {
  return {
    pipeline: 'monitoring',
    priority: 'P1',
    estimated: 100,
    admission: admissionId('k'),
    keyed: true,
    body: 'body',
    ...asked,
  };
}

type Bodies = {
  admit: AdmissionRequest;
  evaluate: AdmissionRequest;
  settle: SettleRequest;
  cancel: CancelRequest;
  failed_open: FailedOpen;
  budgets_put: BudgetsPut;
};

/** A message somebody waits for. */
export function budgetMessage<Type extends keyof Bodies>(
  type: Type,
  data: Bodies[Type],
  tenant = TENANT,
): Message<Bodies[Type]> {
  made += 1;
  return { type, tenant, subject: tenant, id: `m${made}`, data, reply: `api/${made}` };
}

export function level(name: string, parent: string | null, limit: number, rest: Partial<LevelConfig> = {}) {
  const usual = { soft: 850_000, hard: 950_000, p2Soft: null, p2Hard: null, p0: 1_500_000 };
  return { name, parent, limit, ...usual, ...rest };
}

/** Two pipelines below a root of 10,000 tokens; a request may ask for all of it. */
export function budgets(rest: Partial<BudgetConfig> = {}): BudgetConfig {
  return {
    ...DEFAULT_BUDGETS,
    maxRequestShare: 1_000_000,
    levels: [
      level('global', null, 10_000),
      level('monitoring', 'global', 1000),
      level('ranking', 'global', 2000),
    ],
    ...rest,
  };
}

export function put(config: BudgetConfig, rest: Partial<BudgetsPut> = {}): BudgetsPut {
  return { config, actor: 'alice', reason: 'because', ...rest };
}
