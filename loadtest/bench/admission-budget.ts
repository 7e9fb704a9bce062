import { BUDGETS_PUT, type BudgetsPut } from '../../shared/messages/admissions.js';
import type { Message } from '../../shared/messages/message.js';
import { DEFAULT_BUDGETS } from '../../shared/state/budget-config.js';

/** One tenant, so one partition: all of its levels move together. */
export const TENANT = 'bench';

/** In tokens; LIMIT_MAX. */
const LIMIT = 1_000_000_000_000;
const WINDOW_DAYS = 31;

/** Longer than any run: what is held stays held, and no window ends. */
export const ADMISSION_SETTINGS = {
  HOLD_SECONDS: '3600',
  BUDGET_WINDOW_SECONDS: String(WINDOW_DAYS * 86_400),
  // An undecided request fails the run instead of being admitted.
  ...{ FAIL_MODE: 'closed', ADMISSION_DEADLINE_MS: '10000' },
  // No sink takes the ledger: the bounds are those of the machine's memory, not of the run.
  ...{ BACKLOG_MAX: '100000000', OUTBOX_MAX: '100000000', OUTBOX_BYTES_MAX: String(2 ** 40) },
};

/** Budgets in which nothing is refused or degraded, as a message. */
export function hugeBudgets(): Omit<Message<BudgetsPut>, 'id'> {
  const config = {
    ...DEFAULT_BUDGETS,
    levels: DEFAULT_BUDGETS.levels.map((level) => ({ ...level, limit: LIMIT })),
  };
  const data: BudgetsPut = { config, actor: 'bench', reason: 'nothing is refused' };
  return { type: BUDGETS_PUT, tenant: TENANT, subject: TENANT, data };
}

/** The same over HTTP. */
export async function putHugeBudgets(url: string): Promise<void> {
  const levels = DEFAULT_BUDGETS.levels.map(({ name, parent }) => ({ name, parent, limit: LIMIT }));
  const response = await fetch(`${url}/budgets`, {
    method: 'PUT',
    headers: { 'Content-Type': 'application/json', 'X-Tenant-Id': TENANT },
    body: JSON.stringify({ levels, actor: 'bench', reason: 'nothing is refused' }),
  });
  if (response.status !== 200) throw new Error(`PUT /budgets: ${response.status} ${await response.text()}`);
}
