import type { TenantDatabase, TenantTransaction } from '../shared/postgres/tenant-context.js';
import { StoreUnavailable } from '../shared/redis/store-unavailable.js';
import type { PostgresCheck } from './operations/postgres-check.js';
import { Refusal } from './refusal.js';

/** A database changes its owner by an operator's hand only: what was found is believed for so long, ms. */
const BELIEVED_MS = 5000;

/** Postgres as one tenant sees it, and only where it belongs to this installation: the rows of another are not ours to show. */
export class OwnDatabase {
  private isOurs = false;
  private askedAtMs = 0;
  private asking: Promise<void> | undefined;

  constructor(
    private readonly tenants: TenantDatabase,
    private readonly check: Pick<PostgresCheck, 'state'>,
    private readonly believedMs = BELIEVED_MS,
  ) {}

  /** As TenantDatabase. @throws Refusal wrong_database; StoreUnavailable while nobody knows whose it is (rejects) */
  async transaction<T>(work: (trx: TenantTransaction) => Promise<T>): Promise<T> {
    if (!this.isOurs || performance.now() - this.askedAtMs > this.believedMs) {
      this.asking ??= this.ask().finally(() => {
        this.asking = undefined;
      });
      await this.asking;
    }
    return this.tenants.transaction(work);
  }

  private async ask(): Promise<void> {
    const state = await this.check.state();
    this.askedAtMs = performance.now();
    // One that is too busy to say so is still ours.
    if (this.isOurs && state !== 'another_installation') return;
    this.isOurs = false;
    if (state === 'another_installation') {
      throw new Refusal('wrong_database', 'The database belongs to another installation of weir.');
    }
    if (state === 'migrating') {
      throw new StoreUnavailable('Postgres has not been migrated by a worker yet.');
    }
    if (state === 'down') throw new StoreUnavailable('Postgres does not answer.');
    this.isOurs = true;
  }
}
