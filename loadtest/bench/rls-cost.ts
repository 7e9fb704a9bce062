import pg from 'pg';
import pino from 'pino';
import { columnTypes } from '../../shared/postgres/column-types.js';
import { connectPostgres } from '../../shared/postgres/connect.js';
import { appUrl, tenantKey } from '../../shared/postgres/database-url.js';
import { migrate } from '../../shared/postgres/migrate.js';
import { findReceipts } from '../../shared/postgres/repositories/receipts-repository.js';
import { findWindows } from '../../shared/postgres/repositories/windows-repository.js';
import { TenantDatabase, type TenantTransaction, withTenant } from '../../shared/postgres/tenant-context.js';
import { type Figures, figuresOf } from './figures.js';
import { startPostgres } from './postgres-server.js';
import { cpuMs } from './processes.js';

const TENANTS = 50;
const CUSTOMERS = 10;
const WINDOWS = 200;
const DAYS = 35;
const EVENTS_PER_DAY = 6000;
const WINDOW_MS = 30_000;
const START_MS = Date.UTC(2026, 0, 1);
const QUERIES_PER_ROUND = 300;
/** As the API reads windows. */
const BYTES_MAX = 1_048_576;

/** Microseconds of one query. */
export interface RlsCost {
  readonly query: 'windows' | 'receipt';
  /** As the API asks: application role, tenant's context, row level security. */
  readonly bound: Figures;
  /** The same in the same transaction by a superuser, whom no policy binds: the explicit WHERE alone. */
  readonly unbound: Figures;
  /** The same SQL alone: no transaction, no context, and nothing is made of the rows. */
  readonly bare: Figures;
  /** CPU of Postgres' process for one, over all rounds; NaN where the system does not tell. */
  readonly cpu: Readonly<Record<'bound' | 'unbound' | 'bare', number>>;
}

const silent = pino({ level: 'silent' });

/**
 * What tenancy in Postgres costs a query: 100,000 windows and 210,000 events of 50 tenants, one connection, one query at
 * a time, the ways in turn round by round. The texts of the queries are the API's own.
 * @throws when a policy's predicate is no condition of an index
 */
export async function measureRlsCost(rounds = 9): Promise<readonly RlsCost[]> {
  const server = await startPostgres();
  try {
    const url = await server.createDatabase();
    await migrate(url, silent, { waitMs: 10_000 });
    await fill(url);
    const pool = (of: string) =>
      connectPostgres({ url: of, name: 'bench', log: silent, poolMax: 1, pipeline: true });
    // As the application's role is set up.
    const ownerUrl = `${url}?options=${encodeURIComponent('-c plan_cache_mode=force_generic_plan -c jit=off')}`;
    const [app, owner] = [pool(appUrl(url)), pool(ownerUrl)];
    try {
      const bound = new TenantDatabase(app, tenantKey(url));
      const unbound = new TenantDatabase(owner, tenantKey(url));
      await refuseSlowPlans(bound);
      const results: RlsCost[] = [];
      for (const query of ['windows', 'receipt'] as const) {
        const bare = await bareQuery(unbound, ownerUrl, QUERIES[query]);
        const ways = [
          new Way(inTransaction(bound, QUERIES[query]), await backendPid(app)),
          new Way(inTransaction(unbound, QUERIES[query]), await backendPid(owner)),
          new Way(bare.run, bare.pid),
        ] as const;
        // The first round makes connections, plans and machine code.
        for (const way of ways) await way.round();
        for (const way of ways) way.begin();
        for (let round = 0; round < rounds; round += 1) {
          for (const way of ways) await way.round();
        }
        const [ours, theirs, alone] = ways;
        results.push({
          ...{ query, bound: ours.time(), unbound: theirs.time(), bare: alone.time() },
          cpu: { bound: ours.cpu(), unbound: theirs.cpu(), bare: alone.cpu() },
        });
        await bare.end();
      }
      return results;
    } finally {
      await Promise.all([app.end(), owner.end()]);
    }
  } finally {
    await server.stop();
  }
}

/** One of the ways to ask, with what it took. */
class Way {
  private readonly times: number[] = [];
  private cpuBefore = 0;

  constructor(
    private readonly ask: (n: number) => Promise<unknown>,
    private readonly backend: number,
  ) {}

  begin(): void {
    this.times.length = 0;
    this.cpuBefore = cpuMs(this.backend) ?? Number.NaN;
  }

  async round(): Promise<void> {
    const began = performance.now();
    for (let n = 0; n < QUERIES_PER_ROUND; n += 1) await this.ask(n);
    this.times.push(((performance.now() - began) * 1000) / QUERIES_PER_ROUND);
  }

  time(): Figures {
    return figuresOf(this.times);
  }

  cpu(): number {
    const used = (cpuMs(this.backend) ?? Number.NaN) - this.cpuBefore;
    return (used * 1000) / (this.times.length * QUERIES_PER_ROUND);
  }
}

async function backendPid(on: pg.Pool | pg.Client): Promise<number> {
  const { rows } = await on.query<{ pid: number }>('SELECT pg_backend_pid() AS pid');
  return rows[0]!.pid;
}

type Query = (trx: TenantTransaction, n: number) => Promise<unknown>;

const tenantOf = (n: number) => `tenant-${n % TENANTS}`;

const QUERIES: Readonly<Record<RlsCost['query'], Query>> = {
  // 20 windows in the middle of a customer's 200.
  windows: (trx, n) => {
    const from = START_MS + 90 * WINDOW_MS;
    const range = { from, to: from + 20 * WINDOW_MS };
    return findWindows(trx, `${tenantOf(n)}-customer-${(n % CUSTOMERS) + 1}`, range, 100, BYTES_MAX);
  },
  receipt: (trx, n) =>
    findReceipts(trx, `event-${n % DAYS}-${((n * 7) % 100) * TENANTS + (n % TENANTS)}`, {
      customer: undefined,
      source: undefined,
    }),
};

function inTransaction(database: TenantDatabase, query: Query): (n: number) => Promise<unknown> {
  return (n) => withTenant(tenantOf(n), () => database.transaction((trx) => query(trx, n)));
}

/** Prepared, too: the text that Kysely makes of the query, and its parameters, as captured on the way. */
async function bareQuery(
  database: TenantDatabase,
  url: string,
  query: Query,
): Promise<{ run: (n: number) => Promise<unknown>; pid: number; end: () => Promise<void> }> {
  const compiled: { readonly sql: string; readonly parameters: readonly unknown[] }[] = [];
  for (let n = 0; n < QUERIES_PER_ROUND; n += 1) {
    await withTenant(tenantOf(n), () =>
      database.transaction((trx) => {
        const executor = trx.getExecutor();
        const listening = trx.withPlugin({
          transformQuery: ({ node, queryId }) => {
            compiled.push(executor.compileQuery(node, queryId));
            return node;
          },
          transformResult: async ({ result }) => result,
        });
        return query(listening as TenantTransaction, n);
      }),
    );
  }
  /** A prepared statement for each text. */
  const names = new Map<string, string>();
  const client = new pg.Client({ connectionString: url, types: columnTypes });
  // When the run fails and its server is stopped first, that failure is the one to see.
  client.on('error', () => undefined);
  await client.connect();
  return {
    run: (n) => {
      const { sql, parameters } = compiled[n]!;
      const name = names.get(sql) ?? `bare-${names.size}`;
      names.set(sql, name);
      return client.query({ name, text: sql, values: [...parameters] });
    },
    pid: await backendPid(client),
    end: () => client.end(),
  };
}

/** The policy alone, without a WHERE of ours, has to be what the index is asked for, once a query. */
async function refuseSlowPlans(database: TenantDatabase): Promise<void> {
  for (const text of [
    `SELECT * FROM aggregation_windows WHERE customer_id = 1 AND window_start > '2026-01-01'`,
    `SELECT * FROM usage_events WHERE event_id = 'event-1-1'`,
    `SELECT id FROM customers WHERE external_id = 'x'`,
  ]) {
    const plan = await withTenant('tenant-1', () =>
      database.transaction(async (trx) => {
        const query = { sql: `EXPLAIN ${text}`, parameters: [], query: { kind: 'RawNode' } };
        const { rows } = await trx.executeQuery<{ 'QUERY PLAN': string }>(query as never);
        return rows.map((row) => row['QUERY PLAN']).join('\n');
      }),
    );
    if (!/Index Cond: \(\(tenant_id = \(InitPlan/.test(plan) || /Filter:.*InitPlan/.test(plan)) {
      throw new Error(`the policy is not asked of the index:\n${plan}`);
    }
  }
}

async function fill(url: string): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  const start = `timestamptz '${new Date(START_MS).toISOString()}'`;
  for (const sql of [
    `INSERT INTO tenants (id, name) SELECT 'tenant-' || t, 't' FROM generate_series(0, ${TENANTS - 1}) AS t`,
    `INSERT INTO customers (tenant_id, external_id, name)
     SELECT t.id, t.id || '-customer-' || c, 'c' FROM tenants t, generate_series(1, ${CUSTOMERS}) AS c
     WHERE t.id <> 'default'`,
    `INSERT INTO aggregation_windows (tenant_id, customer_id, window_start, window_end, status, revision, partition,
       total_calls, total_tokens, total_input_tokens, total_output_tokens, latency_count, latency_sum_us, late_events,
       aggregation_data, as_of_at, as_of_seq, as_of_index)
     SELECT tenant_id, id, s, s + interval '30 s', 'closed', 1, id % 8, 9, 900, 400, 500, 9, 9000, 0,
       '{"endpoints": [["/v1/chat", 9, 900]], "models": [["large", 9, 900]], "latency": []}', s, 0, 0
     FROM customers, generate_series(0, ${WINDOWS - 1}) AS w,
       LATERAL (SELECT ${start} + w * interval '${WINDOW_MS} ms' AS s) AS starts`,
    // The tables of today and tomorrow would stay empty: an empty table is not read by an index.
    `SELECT drop_usage_partitions('2999-01-01')`,
    `SELECT ensure_usage_partition('${new Date(START_MS).toISOString().slice(0, 10)}'::date + d)
     FROM generate_series(0, ${DAYS - 1}) AS d`,
    `INSERT INTO usage_events (accepted_at, partition, entry_seq, message_index, tenant_id, customer_id, event_id,
       event_at, window_start, status, window_revision, endpoint, model, tokens, input_tokens, output_tokens)
     SELECT ${start} + d * interval '1 day' + e * interval '10 ms', e % 8, e, 0, tenant_id, id, 'event-' || d || '-' || e,
       ${start}, ${start}, 'accepted', 1, '/v1/chat', 'large', 100, 40, 60
     FROM generate_series(0, ${DAYS - 1}) AS d, generate_series(0, ${EVENTS_PER_DAY - 1}) AS e
     JOIN customers ON external_id = 'tenant-' || e % ${TENANTS} || '-customer-1'`,
    'VACUUM ANALYZE',
  ]) {
    await client.query(sql);
  }
  await client.end();
}
