import type { Transactions } from './transaction.js';

const TENANT = /^[A-Za-z0-9_-]{1,64}$/;
/** Names remembered at most: some 10 MB. */
const KNOWN_MAX = 100_000;

/** One parameter: names, each once. Index: tenants_pkey. */
export const INSERT_TENANTS =
  'INSERT INTO tenants (id, name) SELECT id, id FROM unnest($1::text[]) AS id ON CONFLICT DO NOTHING';

export function isTenant(name: string): boolean {
  return TENANT.test(name);
}

/** Rows of tenants: made when one is first seen, in the order of the alphabet, so that sinks do not deadlock. */
export class Tenants {
  private readonly known = new Set<string>();

  constructor(private readonly transactions: Transactions) {}

  /** @param names may hold the same again */
  async ensure(names: Iterable<string>): Promise<void> {
    const missing = [...new Set(names)].filter((name) => !this.known.has(name)).sort();
    if (missing.length === 0) return;
    await this.transactions.run((tx) => tx.query(INSERT_TENANTS, [missing]));
    if (this.known.size + missing.length > KNOWN_MAX) this.known.clear();
    for (const name of missing) this.known.add(name);
  }

  /** One may have been deleted. */
  forget(): void {
    this.known.clear();
  }
}
