import type pg from 'pg';
import { type BudgetDefect, budgetDefects } from '../shared/budgets/budget-defects.js';
import { type BudgetsDocument, budgetConfigOf } from '../shared/budgets/budgets-document.js';
import type { Logger } from '../shared/logging.js';
import { type BudgetConfig, unsoundBudgets } from '../shared/state/budget-config.js';

const TENANTS_PER_READ = 1000;

/** When the newest budgets of a tenant were applied, ms since the epoch; null: at no time that a partition may have had. */
export interface NewestBudgets {
  readonly tenant: string;
  readonly appliedAt: number | null;
}

/** Others would be no number that anything here can hold (`infinity`), and would keep all tenants from being read. */
const POSSIBLE = `v.applied_at >= to_timestamp(0) AND v.applied_at < '9999-12-31'`;

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
   WHERE v.tenant_id = configured.tenant_id AND ${POSSIBLE} ORDER BY v.applied_at DESC LIMIT 1) AS "appliedAt"
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

export interface StoredBudgets {
  readonly tenant: string;
  readonly appliedAt: number;
  readonly version: number;
  readonly document: BudgetsDocument;
  readonly actor: string;
  readonly reason: string;
}

/** A version of a tenant's budgets that cannot be used. */
export interface BrokenBudgets extends Pick<StoredBudgets, 'version' | 'appliedAt'> {
  readonly defects: readonly BudgetDefect[];
}

export interface FoundBudgets {
  /** The newest version that can be used; undefined: none can. */
  readonly sound: StoredBudgets | undefined;
  /** Those that are newer. */
  readonly broken: readonly BrokenBudgets[];
}

const VERSIONS_PER_READ = 20;
/** Of a tenant with more broken ones than this, none is taken to be sound. */
const VERSIONS_MAX = 1000;

/** Index: budget_versions_pkey. */
const VERSIONS = `
SELECT v.tenant_id AS tenant, (extract(epoch FROM v.applied_at) * 1000)::bigint AS "appliedAt", v.version, v.document,
  v.actor, v.reason
FROM budget_versions v WHERE v.tenant_id = $1 AND ${POSSIBLE}
ORDER BY v.applied_at DESC, v.version DESC LIMIT ${VERSIONS_PER_READ} OFFSET $2`;

/** The budgets of a tenant that was ever configured. */
export async function budgetsOf(client: pg.ClientBase, tenant: string): Promise<FoundBudgets> {
  const broken: BrokenBudgets[] = [];
  while (broken.length < VERSIONS_MAX) {
    const { rows } = await client.query<StoredBudgets>(VERSIONS, [tenant, broken.length]);
    for (const stored of rows) {
      const defects = defectsOf(stored);
      if (defects.length === 0) return { sound: stored, broken };
      broken.push({ version: stored.version, appliedAt: stored.appliedAt, defects });
    }
    if (rows.length < VERSIONS_PER_READ) break;
  }
  return { sound: undefined, broken };
}

/** What is decided by: the newest version that can be used, and nothing where none can: never the defaults. */
export function configOf({ sound, broken }: FoundBudgets): BudgetConfig {
  if (sound === undefined) return unsoundBudgets(broken[0]?.version ?? 0);
  const { document, version, appliedAt } = sound;
  return { ...budgetConfigOf(document), version, appliedAt };
}

/** Says what is wrong, and what is done about it. */
export function logBroken(log: Logger, tenant: string, { sound, broken }: FoundBudgets): void {
  const first = broken.slice(0, BROKEN_LOGGED_MAX);
  if (sound === undefined) {
    log.error(
      { tenant, broken: first },
      'no budgets of this tenant in Postgres can be used: it gets nothing',
    );
  } else {
    const used = { version: sound.version, appliedAt: sound.appliedAt };
    log.error({ tenant, broken: first, used }, 'budgets in Postgres are broken: an older version is used');
  }
}

const BROKEN_LOGGED_MAX = 5;

/** Somebody else may have written it: of whatever shape. */
function defectsOf({ document }: StoredBudgets): readonly BudgetDefect[] {
  try {
    return budgetDefects(document);
  } catch (error) {
    return [{ path: '', message: (error as Error).message }];
  }
}
