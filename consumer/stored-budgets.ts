import type pg from 'pg';
import { type BudgetDefect, budgetDefects } from '../shared/budgets/budget-defects.js';
import { type BudgetsDocument, budgetConfigOf } from '../shared/budgets/budgets-document.js';
import type { BudgetConfig } from '../shared/state/budget-config.js';

const TENANTS_PER_READ = 1000;

/** When the newest budgets of a tenant were applied, ms since the epoch. */
export interface NewestBudgets {
  readonly tenant: string;
  readonly appliedAt: number;
}

/** From tenant to tenant, two probes each, whatever number of versions they have. Index: budget_versions_pkey. */
const NEWEST = `
WITH RECURSIVE configured AS (
  (SELECT tenant_id FROM budget_versions WHERE tenant_id > $1 ORDER BY tenant_id LIMIT 1)
  UNION ALL
  SELECT (SELECT v.tenant_id FROM budget_versions v WHERE v.tenant_id > configured.tenant_id
          ORDER BY v.tenant_id LIMIT 1)
  FROM configured WHERE tenant_id IS NOT NULL
)
SELECT tenant_id AS tenant,
  (SELECT (extract(epoch FROM v.applied_at) * 1000)::bigint FROM budget_versions v
   WHERE v.tenant_id = configured.tenant_id ORDER BY v.applied_at DESC LIMIT 1) AS "appliedAt"
FROM configured WHERE tenant_id IS NOT NULL LIMIT ${TENANTS_PER_READ}`;

/** Every tenant that was ever configured, some at a time. */
export async function* newestBudgets(client: pg.ClientBase): AsyncGenerator<readonly NewestBudgets[]> {
  for (let after = ''; ; ) {
    const { rows } = await client.query<NewestBudgets>(NEWEST, [after]);
    if (rows.length > 0) yield rows;
    if (rows.length < TENANTS_PER_READ) return;
    after = rows.at(-1)!.tenant;
  }
}

export interface StoredBudgets extends NewestBudgets {
  readonly version: number;
  readonly document: BudgetsDocument;
  readonly actor: string;
  readonly reason: string;
}

/** Index: budget_versions_pkey. */
export async function budgetsOf(client: pg.ClientBase, tenant: string): Promise<StoredBudgets | undefined> {
  const { rows } = await client.query<StoredBudgets>(
    `SELECT tenant_id AS tenant, (extract(epoch FROM applied_at) * 1000)::bigint AS "appliedAt", version, document,
       actor, reason
     FROM budget_versions WHERE tenant_id = $1 ORDER BY applied_at DESC, version DESC LIMIT 1`,
    [tenant],
  );
  return rows[0];
}

/** Somebody else may have written it: of whatever shape. */
export function defectsOf({ document }: StoredBudgets): readonly BudgetDefect[] {
  try {
    return budgetDefects(document);
  } catch (error) {
    return [{ path: '', message: (error as Error).message }];
  }
}

/** As the fold knows them. Only of what has no defects. */
export function configOf({ document, version, appliedAt }: StoredBudgets): BudgetConfig {
  return { ...budgetConfigOf(document), version, appliedAt };
}
