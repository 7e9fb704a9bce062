import { randomUUID } from 'node:crypto';
import type pg from 'pg';
import { createLogger } from '../../shared/logging.js';
import { connectPostgres } from '../../shared/postgres/connect.js';
import { sinkUrl } from '../../shared/postgres/database-url.js';
import { migrate } from '../../shared/postgres/migrate.js';

const ROWS_PER_STATEMENT = 500;
const WARM_UP_ROWS = 10_000;
const DAY_MS = 86_400_000;
const WINDOW_MS = 30_000;

const COLUMNS = [
  ...['accepted_at timestamptz', 'partition smallint', 'entry_seq integer', 'message_index smallint'],
  ...['tenant_id text', 'customer_id bigint', 'event_id text', 'event_at timestamptz'],
  ...['window_start timestamptz', 'status text', 'window_revision integer', 'endpoint text', 'model text'],
  ...['tokens bigint', 'input_tokens bigint', 'output_tokens bigint', 'latency_us bigint', 'metadata jsonb'],
].map((column) => column.split(' ') as [name: string, type: string]);

const INSERT = `INSERT INTO usage_events (${COLUMNS.map(([name]) => name).join(', ')})
  SELECT * FROM unnest(${COLUMNS.map(([, type], i) => `$${i + 1}::${type}[]`).join(', ')})`;

export interface InsertRateOptions {
  readonly rows: number;
  /** Connections that insert at once, each its share of the rows. */
  readonly connections: number;
}

export interface InsertRate {
  readonly rowsPerSecond: number;
  /** Of this process; Postgres not included. */
  readonly cpuMicrosPerRow: number;
}

/**
 * The peer of (h): rows per second into usage_events as one would write it first: 500 rows a statement, arrays handed
 * to the driver, every statement a transaction. Making the rows is within the time.
 * @param url of the owner of an empty database
 */
export async function measureInsertRate(
  { url }: { readonly url: string },
  { rows, connections }: InsertRateOptions,
): Promise<InsertRate> {
  const log = createLogger('bench', 'error');
  await migrate(url, log, { waitMs: 10_000 });
  const pool = connectPostgres({ url: sinkUrl(url), name: 'bench-insert', log, poolMax: connections });
  try {
    // The rows' times run ahead of the clock: it may be nearly midnight.
    for (const ms of [Date.now(), Date.now() + DAY_MS]) {
      await pool.query('SELECT ensure_usage_partition($1::date)', [new Date(ms).toISOString().slice(0, 10)]);
    }
    await insertAll(pool, connections, WARM_UP_ROWS);
    const cpu = process.cpuUsage();
    const begun = performance.now();
    const share = Math.floor(rows / connections);
    await Promise.all(Array.from({ length: connections }, (_, index) => insertAll(pool, index, share)));
    const ms = performance.now() - begun;
    const { user, system } = process.cpuUsage(cpu);
    return { rowsPerSecond: (rows / ms) * 1000, cpuMicrosPerRow: (user + system) / rows };
  } finally {
    await pool.end();
  }
}

async function insertAll(pool: pg.Pool, partition: number, rows: number): Promise<void> {
  const now = Date.now();
  for (let begin = 0; begin < rows; begin += ROWS_PER_STATEMENT) {
    const columns: unknown[][] = COLUMNS.map(() => []);
    for (let i = begin; i < Math.min(rows, begin + ROWS_PER_STATEMENT); i += 1) {
      rowOf(i, partition, now).forEach((value, column) => {
        columns[column]!.push(value);
      });
    }
    await pool.query(INSERT, columns);
  }
}

/** The same events as archive-rate makes, in the order of COLUMNS. */
function rowOf(i: number, partition: number, now: number): unknown[] {
  const outputTokens = i % 900;
  const timestamp = now - (i % 2000);
  return [
    ...[new Date(now + Math.floor(i / 50)), partition, 0, i % 50],
    ...[`tenant-${i % 5}`, (i % 50) + 1, randomUUID(), new Date(timestamp)],
    ...[new Date(Math.floor(timestamp / WINDOW_MS) * WINDOW_MS), 'accepted', 1],
    ...['/v1/chat/completions', 'gpt-4o-mini', 100 + outputTokens, 100, outputTokens, 120_000 + i],
    '{"region":"eu-central-1"}',
  ];
}
