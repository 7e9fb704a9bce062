import {
  findReceipts,
  type Receipt,
  type ReceiptFilter,
} from '../../../shared/postgres/repositories/receipts-repository.js';
import {
  countWindows,
  findWindows,
  findWindowsAt,
  type WindowRows,
} from '../../../shared/postgres/repositories/windows-repository.js';
import type { TenantTransaction } from '../../../shared/postgres/tenant-context.js';
import type { StartRange } from '../../../shared/usage/hot-usage.js';
import type { OwnDatabase } from '../../own-database.js';
import { readTenant } from '../../read-tenant.js';

/**
 * Reads what Postgres holds of usage, each call in a transaction of its own, in the tenant's context of the caller.
 * Every method rejects with TenantRequired outside of one, and with StoreUnavailable while Postgres is away.
 */
export class UsageArchive {
  constructor(private readonly database: OwnDatabase) {}

  /** The first `limit` windows that start in the range, ascending, up to and with the one that reaches `bytesMax`. */
  windows(customer: string, range: StartRange, limit: number, bytesMax: number): Promise<WindowRows> {
    return this.read((trx) => findWindows(trx, customer, range, limit, bytesMax));
  }

  /** The windows that start at these times, likewise. */
  windowsAt(customer: string, starts: readonly number[], bytesMax: number): Promise<WindowRows> {
    return this.read((trx) => findWindowsAt(trx, customer, starts, bytesMax));
  }

  /** How many windows start in the range; counting stops at `most`. */
  count(customer: string, range: StartRange, most: number): Promise<number> {
    return this.read((trx) => countWindows(trx, customer, range, most));
  }

  /** By customer and source. */
  receipts(eventId: string, filter: ReceiptFilter): Promise<readonly Receipt[]> {
    return this.read((trx) => findReceipts(trx, eventId, filter));
  }

  private read<T>(work: (trx: TenantTransaction) => Promise<T>): Promise<T> {
    return readTenant(this.database, work);
  }
}
