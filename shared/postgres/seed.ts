import { readFileSync } from 'node:fs';
import pg from 'pg';
import type { Logger } from '../logging.js';
import { sinkUrl } from './database-url.js';
import { migrate } from './migrate.js';

const seedFile = new URL('./seed.sql', import.meta.url);
/** A worker may be migrating. */
const MIGRATE_WAIT_MS = 30_000;

export interface Seeded {
  readonly tenants: number;
  readonly customers: number;
  /** Versions of budgets, those of tenant `default` included. */
  readonly budgets: number;
}

/**
 * Puts data to develop with into a database, migrating it first; what is there already stays as it is.
 * @param url of the owner
 * @returns how many there are now
 */
export async function seed(url: string, log: Logger): Promise<Seeded> {
  await migrate(url, log, { waitMs: MIGRATE_WAIT_MS });
  const client = new pg.Client({ connectionString: sinkUrl(url) });
  await client.connect();
  try {
    await client.query(readFileSync(seedFile, 'utf8'));
    const { rows } = await client.query<Seeded>(
      `SELECT (SELECT count(*)::integer FROM tenants) AS tenants, (SELECT count(*)::integer FROM customers) AS customers,
         (SELECT count(*)::integer FROM budget_versions) AS budgets`,
    );
    return rows[0]!;
  } finally {
    await client.end();
  }
}
