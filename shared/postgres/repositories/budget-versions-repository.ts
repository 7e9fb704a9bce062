import type { BudgetsDocument } from '../../budgets/budgets-document.js';
import type { TenantTransaction } from '../tenant-context.js';
import { ofTenant } from './usage-filters.js';

/** Place in the list of versions. */
export interface VersionPlace {
  /** ms since the epoch. */
  readonly appliedAt: number;
  readonly version: number;
}

/** One change of a tenant's budgets. */
export interface BudgetVersion extends VersionPlace {
  readonly document: BudgetsDocument;
  readonly actor: string;
  readonly reason: string;
}

/**
 * Versions of the tenant's budgets, newest first.
 * Served by the primary key (tenant_id, applied_at, version), read backwards up to the limit.
 * @param before only older ones than this
 */
export async function findBudgetVersions(
  trx: TenantTransaction,
  limit: number,
  before?: VersionPlace,
): Promise<readonly BudgetVersion[]> {
  const rows = await trx
    .selectFrom('budget_versions')
    .select(['applied_at', 'version', 'document', 'actor', 'reason'])
    .where(ofTenant())
    // Others are no time that anything was applied at, and no Date.
    .where('applied_at', '>=', new Date(0))
    .where('applied_at', '<', new Date('9999-12-31'))
    .$if(before !== undefined, (query) =>
      query.where((eb) =>
        eb(eb.refTuple('applied_at', 'version'), '<', eb.tuple(new Date(before!.appliedAt), before!.version)),
      ),
    )
    .orderBy('applied_at', 'desc')
    .orderBy('version', 'desc')
    .limit(limit)
    .execute();
  return rows.map(({ applied_at, ...row }) => ({ ...row, appliedAt: applied_at.getTime() }));
}
