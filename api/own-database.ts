import type { TenantDatabase, TenantTransaction } from '../shared/postgres/tenant-context.js';
import { StoreUnavailable } from '../shared/redis/store-unavailable.js';
import type { PostgresCheck, PostgresState } from './operations/postgres-check.js';
import { Refusal } from './refusal.js';

/** A database changes its owner by an operator's hand only: what was found is believed for so long, ms. */
const BELIEVED_MS = 5000;

/** Postgres as one tenant sees it, and only where it belongs to this installation: the rows of another are not ours to show. */
export class OwnDatabase {
  private isOurs = false;
  private askedAtMs = 0;

  constructor(
    private readonly tenants: TenantDatabase,
    private readonly check: Pick<PostgresCheck, 'state'>,
  ) {}

  /** As TenantDatabase. @throws Refusal wrong_database; StoreUnavailable while nobody knows whose it is (rejects) */
  async transaction<T>(work: (trx: TenantTransaction) => Promise<T>): Promise<T> {
    if (!this.isOurs) this.take(await this.check.state());
    else if (performance.now() - this.askedAtMs > BELIEVED_MS) void this.askAgain();
    return this.tenants.transaction(work);
  }

  /** Beside the work, which does not wait for it. */
  private async askAgain(): Promise<void> {
    this.askedAtMs = performance.now();
    if ((await this.check.state()) === 'another_installation') this.isOurs = false;
  }

  private take(state: PostgresState): void {
    if (state === 'another_installation') {
      throw new Refusal('wrong_database', 'The database belongs to another installation of weir.');
    }
    if (state === 'migrating') {
      throw new StoreUnavailable('Postgres has not been migrated by a worker yet.');
    }
    if (state === 'down') throw new StoreUnavailable('Postgres does not answer.');
    this.isOurs = true;
    this.askedAtMs = performance.now();
  }
}
