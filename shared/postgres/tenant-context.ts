import { AsyncLocalStorage } from 'node:async_hooks';
import {
  Kysely,
  PostgresAdapter,
  PostgresIntrospector,
  PostgresQueryCompiler,
  type Transaction,
} from 'kysely';
import type pg from 'pg';
import type { Schema } from './schema.js';
import { TenantDriver } from './tenant-driver.js';

/**
 * Whose data the code that runs now may touch. Set once at the edge, carried by the runtime through every `await`,
 * read where data is read: Postgres by TenantDatabase, Redis by the keys that are made of `currentTenant()`.
 */
const context = new AsyncLocalStorage<string>();

const TENANT = /^[A-Za-z0-9_-]{1,64}$/;

/** Data of a tenant was asked for where no tenant is known: a defect of the caller, nothing was read. */
export class TenantRequired extends Error {
  constructor(detail = 'no tenant: call inside withTenant()') {
    super(detail);
    this.name = 'TenantRequired';
  }
}

/**
 * Runs `work`, and all it awaits, for one tenant.
 * @throws TenantRequired when the name is none, or another tenant's work is under way: one call serves one tenant
 */
export async function withTenant<T>(tenant: string, work: () => Promise<T>): Promise<T> {
  if (!TENANT.test(tenant)) throw new TenantRequired('not the name of a tenant');
  const present = context.getStore();
  if (present !== undefined && present !== tenant) {
    throw new TenantRequired('the work of one tenant may not begin that of another');
  }
  return context.run(tenant, work);
}

/** @throws TenantRequired outside withTenant() */
export function currentTenant(): string {
  const tenant = context.getStore();
  if (tenant === undefined) throw new TenantRequired();
  return tenant;
}

declare const tenantBrand: unique symbol;

/**
 * A transaction that sees one tenant's rows. Only `TenantDatabase.transaction` makes one, so a repository that takes
 * it cannot be called without a tenant; a plain Kysely or Transaction does not fit.
 */
export type TenantTransaction = Transaction<Schema> & { readonly [tenantBrand]: true };

/**
 * Postgres as one tenant sees it: the pool's role owns nothing, row level security binds it, and the only way in is
 * a transaction for `currentTenant()`.
 */
export class TenantDatabase {
  private readonly kysely: Kysely<Schema>;

  /**
   * @param pool of the application role (`appUrl`), with `pipeline`: else each transaction costs one more round trip
   * @param tenantKey see database-url.ts
   */
  constructor(pool: pg.Pool, tenantKey: string) {
    this.kysely = new Kysely({
      dialect: {
        createAdapter: () => new PostgresAdapter(),
        createDriver: () => new TenantDriver(pool, tenantKey, currentTenant),
        createIntrospector: (kysely) => new PostgresIntrospector(kysely),
        createQueryCompiler: () => new PostgresQueryCompiler(),
      },
    });
  }

  /**
   * Runs `work` in a read-only transaction on one snapshot. What it reads belongs to `currentTenant()`; nothing can
   * be written. Costs no round trip of its own: its beginning travels with the first query, its end is not waited for.
   * Do not begin another inside: each holds a connection of a small pool.
   * @throws TenantRequired outside withTenant(), and in queries sent when the tenant's work or `work` is over
   * @throws what the driver throws; see errors.ts
   */
  async transaction<T>(work: (trx: TenantTransaction) => Promise<T>): Promise<T> {
    currentTenant();
    return this.kysely.transaction().execute((trx) => work(trx as TenantTransaction));
  }
}
