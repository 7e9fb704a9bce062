import { isPostgresTransient, isUnmigrated } from '../shared/postgres/errors.js';
import type { TenantTransaction } from '../shared/postgres/tenant-context.js';
import { StoreUnavailable } from '../shared/redis/store-unavailable.js';
import type { OwnDatabase } from './own-database.js';

/**
 * Reads from Postgres in one transaction, in the tenant's context of the caller.
 * @throws TenantRequired outside of one, StoreUnavailable while Postgres is away, Refusal wrong_database (rejects)
 */
export async function readTenant<T>(
  database: OwnDatabase,
  work: (trx: TenantTransaction) => Promise<T>,
): Promise<T> {
  try {
    return await database.transaction(work);
  } catch (error) {
    throw classified(error);
  }
}

function classified(error: unknown): unknown {
  if (isPostgresTransient(error)) return new StoreUnavailable('Postgres does not answer.', error);
  if (isUnmigrated(error))
    return new StoreUnavailable('Postgres has not been migrated by a worker yet.', error);
  return error;
}
