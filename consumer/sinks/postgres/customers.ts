import type pg from 'pg';
import { INSERT_TENANTS, isTenant } from './tenants.js';
import type { Transactions } from './transaction.js';

const PAIRS_PER_STATEMENT = 1000;
const ID_CHARACTERS_MAX = 128;

export interface Customer {
  readonly tenant: string;
  readonly externalId: string;
  /** In Postgres; 0: not known yet. */
  id: number;
}

/** What Postgres stores as it is: without U+0000 and without half a character. */
export function isText(value: string): boolean {
  return !value.includes('\0') && value.isWellFormed();
}

/** As the API takes ids of customers and events (`idSchema`): not empty, and an index takes it. */
export function isId(value: string): boolean {
  const { length } = value;
  if (length === 0 || length > 2 * ID_CHARACTERS_MAX || !isText(value)) return false;
  return length <= ID_CHARACTERS_MAX || [...value].length <= ID_CHARACTERS_MAX;
}

/** The customers of one batch, each once. */
export class Customers {
  private readonly byKey = new Map<string, Customer>();

  /** Undefined where Postgres could have no such customer. */
  of(tenant: string | undefined, externalId: string): Customer | undefined {
    const key = keyOf(tenant, externalId);
    const known = this.byKey.get(key);
    if (known !== undefined) return known;
    if (tenant === undefined || !isTenant(tenant) || !isId(externalId)) return undefined;
    const customer = { tenant, externalId, id: 0 };
    this.byKey.set(key, customer);
    return customer;
  }

  all(): readonly Customer[] {
    return [...this.byKey.values()];
  }
}

/**
 * Ids of customers, remembered; who is seen for the first time is made, with the tenant.
 *
 * Each statement is a transaction of its own and takes its rows in the order of the alphabet: sinks that meet the
 * same new ones at once wait for each other and do not deadlock.
 */
export class CustomerIds {
  /** Two generations: what has not been used for `max` / 2 others is forgotten. Only what is committed is here. */
  private young = new Map<string, number>();
  private old = new Map<string, number>();

  constructor(
    private readonly transactions: Transactions,
    /** Ids remembered at most. */
    private readonly max: number,
  ) {}

  /** Fills in the ids. */
  async resolve(customers: readonly Customer[]): Promise<void> {
    const missing = customers.filter((customer) => !this.recall(customer));
    missing.sort((a, b) => order(a.tenant, b.tenant) || order(a.externalId, b.externalId));
    for (let i = 0; i < missing.length; i += PAIRS_PER_STATEMENT) {
      await this.learn(missing.slice(i, i + PAIRS_PER_STATEMENT));
    }
  }

  forget(): void {
    this.young.clear();
    this.old.clear();
  }

  private async learn(customers: readonly Customer[]): Promise<void> {
    let left = await this.select(customers);
    if (left.length === 0) return;
    const [tenants, externalIds] = columns(left);
    await this.query(INSERT_TENANTS, [[...new Set(tenants)]]);
    await this.query(
      `INSERT INTO customers (tenant_id, external_id, name)
       SELECT tenant_id, external_id, external_id FROM unnest($1::text[], $2::text[]) AS u (tenant_id, external_id)
       ON CONFLICT DO NOTHING`,
      [tenants, externalIds],
    );
    left = await this.select(left);
    // Somebody deletes customers at this moment.
    if (left.length > 0) throw new Error(`${left.length} customers are gone as soon as they are made`);
  }

  /** Fills in the ids of those that exist. Index: customers_tenant_id_external_id_key. @returns the others */
  private async select(customers: readonly Customer[]): Promise<readonly Customer[]> {
    const rows = await this.query<{ n: number; id: number }>(
      `SELECT u.n::integer AS n, c.id
       FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS u (tenant_id, external_id, n)
       JOIN customers c ON c.tenant_id = u.tenant_id AND c.external_id = u.external_id`,
      columns(customers),
    );
    for (const { n, id } of rows) this.remember(customers[n - 1]!, id);
    return customers.filter(({ id }) => id === 0);
  }

  private query<Row extends pg.QueryResultRow>(text: string, values: readonly unknown[]): Promise<Row[]> {
    return this.transactions.run((tx) => tx.query<Row>(text, values));
  }

  private recall(customer: Customer): boolean {
    customer.id = 0;
    const key = keyOf(customer.tenant, customer.externalId);
    let id = this.young.get(key);
    if (id === undefined) {
      id = this.old.get(key);
      if (id === undefined) return false;
      this.keep(key, id);
    }
    customer.id = id;
    return true;
  }

  private remember(customer: Customer, id: number): void {
    customer.id = id;
    this.keep(keyOf(customer.tenant, customer.externalId), id);
  }

  private keep(key: string, id: number): void {
    if (this.young.size * 2 >= this.max) {
      this.old = this.young;
      this.young = new Map();
    }
    this.young.set(key, id);
  }
}

/** A tenant holds no `:`. */
function keyOf(tenant: string | undefined, externalId: string): string {
  return `${tenant}:${externalId}`;
}

/** By UTF-16 units: any order will do that is the same everywhere. */
function order(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function columns(customers: readonly Customer[]): [tenants: string[], externalIds: string[]] {
  return [customers.map(({ tenant }) => tenant), customers.map(({ externalId }) => externalId)];
}
