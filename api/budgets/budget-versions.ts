import type { Request, Response } from 'express';
import { budgetDefects } from '../../shared/budgets/budget-defects.js';
import {
  type BudgetsDocument,
  budgetConfigOf,
  budgetsDocument,
} from '../../shared/budgets/budgets-document.js';
import {
  type BudgetVersion,
  findBudgetVersions,
  type VersionPlace,
} from '../../shared/postgres/repositories/budget-versions-repository.js';
import { withTenant } from '../../shared/postgres/tenant-context.js';
import { StoreUnavailable } from '../../shared/redis/store-unavailable.js';
import { optionalInteger } from '../http/query.js';
import { sendJson } from '../http/respond.js';
import { readTenant } from '../read-tenant.js';
import { invalid } from '../refusal.js';
import { strictQuery } from '../usage/queries/query-parameters.js';
import { type BudgetDependencies, tenantOf } from './budget-dependencies.js';
import { appliedAtView } from './budget-view.js';

const LIMIT_DEFAULT = 20;
/** A version holds up to 256 levels: 60 kB. */
const LIMIT_MAX = 100;

/** `<when the last version shown was applied, ms>.<its version>` */
const CURSOR = /^(\d{1,15})\.(\d{1,9})$/;

/** `GET /budgets/versions`: who changed the budgets when, to what, and why; the newest first. */
export async function getBudgetVersions(
  { database }: BudgetDependencies,
  req: Request,
  res: Response,
): Promise<void> {
  const tenant = tenantOf(req);
  const parameters = strictQuery(req.url, ['limit', 'cursor']);
  const limit = optionalInteger(parameters, 'limit', { min: 1, max: LIMIT_MAX, otherwise: LIMIT_DEFAULT });
  const cursor = parameters.get('cursor');
  const before = cursor === undefined ? undefined : decodeCursor(cursor);
  if (database === undefined) {
    throw new StoreUnavailable('Versions are kept in Postgres, and this process has no DATABASE_URL.');
  }
  const found = await withTenant(tenant, () =>
    readTenant(database, (trx) => findBudgetVersions(trx, limit + 1, before)),
  );
  const shown = found.slice(0, limit);
  sendJson(req, res, 200, {
    versions: shown.map(versionView),
    next_cursor: found.length > limit ? encodeCursor(shown.at(-1)!) : null,
  });
}

function versionView({ version, appliedAt, actor, reason, document }: BudgetVersion): object {
  return { version, applied_at: appliedAtView(appliedAt), actor, reason, ...budgetsOf(document) };
}

/** Somebody else may have written it, of whatever shape: what is broken is said to be, and not shown. */
function budgetsOf(document: BudgetsDocument): object {
  try {
    // A jsonb has an order of its own; this way the members come in that of GET /budgets.
    if (budgetDefects(document).length === 0) return budgetsDocument(budgetConfigOf(document));
  } catch {
    // No budgets at all.
  }
  return { broken: true };
}

/** Names the last version that was shown: the next page begins before it, whatever was applied meanwhile. */
function encodeCursor({ appliedAt, version }: VersionPlace): string {
  return Buffer.from(`${appliedAt}.${version}`, 'latin1').toString('base64url');
}

/** @throws Refusal invalid_request */
function decodeCursor(cursor: string): VersionPlace {
  const match = CURSOR.exec(Buffer.from(cursor, 'base64url').toString('latin1'));
  if (match === null) throw invalid('cursor', 'must be a next_cursor of this list');
  return { appliedAt: Number(match[1]), version: Number(match[2]) };
}
