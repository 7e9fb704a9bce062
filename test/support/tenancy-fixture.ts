import pg from 'pg';
import pino, { type Logger } from 'pino';
import { connectPostgres } from '../../shared/postgres/connect.js';
import { appUrl, sinkUrl, tenantKey } from '../../shared/postgres/database-url.js';
import { migrate } from '../../shared/postgres/migrate.js';
import { TenantDatabase, withTenant } from '../../shared/postgres/tenant-context.js';
import { tenantProof } from '../../shared/postgres/tenant-driver.js';
import { testPostgres } from './hooks.js';

const silent: Logger = pino({ level: 'silent' });

/** What raw SQL got: rows, or the SQLSTATE and message of the refusal. */
export type Outcome =
  | { readonly rows: readonly Record<string, unknown>[] }
  | { readonly state: string; readonly message: string };

/**
 * A migrated database of its own with some tenants. Every text in a tenant's rows contains the tenant's name, so that
 * whatever a tenant gets to see shows whose it is.
 */
export class TenancyFixture {
  private constructor(
    readonly ownerUrl: string,
    readonly owner: pg.Client,
    readonly app: pg.Pool,
    readonly sink: pg.Pool,
    readonly database: TenantDatabase,
  ) {}

  static async start(tenants: readonly string[], poolMax = 3): Promise<TenancyFixture> {
    const ownerUrl = await (await testPostgres()).createDatabase();
    await migrate(ownerUrl, silent, { waitMs: 10_000 });
    const owner = new pg.Client({ connectionString: ownerUrl });
    await owner.connect();
    const app = connectPostgres({
      ...{ url: appUrl(ownerUrl), name: 'test-app', log: silent, poolMax },
      ...{ pipeline: true, queryTimeoutMs: 6000, connectTimeoutMs: 10_000 },
    });
    const sink = connectPostgres({ url: sinkUrl(ownerUrl), name: 'test-sink', log: silent, poolMax: 1 });
    const database = new TenantDatabase(app, tenantKey(ownerUrl));
    const fixture = new TenancyFixture(ownerUrl, owner, app, sink, database);
    for (const tenant of tenants) await fixture.fill(tenant);
    // So that there are statistics to leak.
    await owner.query('ANALYZE');
    return fixture;
  }

  async close(): Promise<void> {
    await Promise.all([this.app.end(), this.sink.end(), this.owner.end()]);
  }

  /** Proof of a tenant, as the API makes it. */
  proof(tenant: string): string {
    return tenantProof(tenant, tenantKey(this.ownerUrl));
  }

  /** Runs raw SQL as the API would for one tenant: in its transaction, through its driver. */
  async asTenant(tenant: string, text: string): Promise<Outcome> {
    return outcomeOf(() =>
      withTenant(tenant, () =>
        this.database.transaction(async (trx) => {
          const query = { sql: text, parameters: [], query: { kind: 'RawNode' }, queryId: { queryId: '' } };
          return trx.executeQuery<Record<string, unknown>>(query as never);
        }),
      ),
    );
  }

  /**
   * Runs raw SQL on a connection of the application role that is all the attacker's: no driver, several statements at
   * once, no read-only transaction. `tenant` is set for the session, with its proof.
   */
  async inAppRole(tenant: string | undefined, text: string): Promise<Outcome> {
    const client = new pg.Client({ connectionString: appUrl(this.ownerUrl) });
    await client.connect();
    try {
      await client.query(`SET default_transaction_read_only = off`);
      if (tenant !== undefined) {
        await client.query(
          `SELECT set_config('weir.tenant', $1, false), set_config('weir.tenant_proof', $2, false)`,
          [tenant, this.proof(tenant)],
        );
      }
      const copied: Record<string, unknown>[] = [];
      wire(client).on('copyData', ({ chunk }) => copied.push({ copied: chunk.toString() }));
      return await outcomeOf(async () => {
        const results = await client.query(text);
        const { rows } = Array.isArray(results) ? results.at(-1)! : results;
        return { rows: [...rows, ...copied] };
      });
    } finally {
      await client.end();
    }
  }

  private async fill(tenant: string): Promise<void> {
    await this.sink.query(`INSERT INTO tenants (id, name) VALUES ($1, 'name of ' || $1)`, [tenant]);
    await this.sink.query(
      `INSERT INTO customers (tenant_id, external_id, name)
       SELECT $1, $1 || '-customer-' || n, 'name of ' || $1 || ' ' || n FROM generate_series(1, 4) AS n`,
      [tenant],
    );
    await this.sink.query(
      `INSERT INTO usage_events (accepted_at, partition, entry_seq, message_index, tenant_id, customer_id, event_id,
         event_at, window_start, status, window_revision, endpoint, model, tokens, input_tokens, output_tokens,
         latency_us, metadata)
       SELECT date_trunc('day', now()) + n * interval '1 second', 0, c.id, n, $1, c.id,
         $1 || '-event-' || n, date_trunc('day', now()), date_trunc('day', now()),
         CASE n % 3 WHEN 0 THEN 'duplicate' WHEN 1 THEN 'late' ELSE 'accepted' END, n % 3, '/' || $1 || '/' || n % 2,
         CASE n % 2 WHEN 0 THEN $1 || '-model' END, n * 10 + c.id, n, c.id, n * 1000,
         jsonb_build_object('secret', $1 || n)
       FROM customers c, generate_series(1, 6) AS n WHERE c.tenant_id = $1`,
      [tenant],
    );
    await this.sink.query(
      `INSERT INTO aggregation_windows (tenant_id, customer_id, window_start, window_end, status, revision, partition,
         total_calls, total_tokens, total_input_tokens, total_output_tokens, latency_count, latency_sum_us,
         late_events, aggregation_data, as_of_at, as_of_seq, as_of_index)
       SELECT $1, c.id, s, s + interval '30 seconds', 'closed', 1, 0, n, n * c.id, n, c.id, n, n * 1000, 0,
         jsonb_build_object('endpoints', jsonb_build_array(jsonb_build_array('/' || $1, n, n))), now(), 0, 0
       FROM customers c, generate_series(1, 3) AS n,
         LATERAL (SELECT date_trunc('day', now()) + n * interval '30 seconds' AS s) AS starts
       WHERE c.tenant_id = $1`,
      [tenant],
    );
    await this.sink.query(
      `INSERT INTO restriction_changes (stream, outbox_id, tenant_id, subject, type, body, happened_at)
       SELECT 'events.0', $1 || n, $1, $1 || '-user-' || n, 'restricted', jsonb_build_object('user', $1), now()
       FROM generate_series(1, 3) AS n`,
      [tenant],
    );
    await this.fillBudgets(tenant);
  }

  private async fillBudgets(tenant: string): Promise<void> {
    await this.sink.query(
      `INSERT INTO budget_ledger (at, tenant_id, epoch, seq, kind, window_start, path, held, settled, tokens,
         admission_id, pipeline, priority)
       SELECT date_trunc('day', now()) + n * interval '1 second', $1, 1, n,
         CASE n % 3 WHEN 0 THEN 'settle' ELSE 'grant' END, date_trunc('day', now()), ARRAY[$1 || '-root'],
         n, n * 10, n, $1 || '-admission-' || n / 2, $1 || '-pipeline', CASE n % 2 WHEN 0 THEN 'P0' ELSE 'P1' END
       FROM generate_series(1, 6) AS n`,
      [tenant],
    );
    await this.sink.query(
      `INSERT INTO budget_windows (tenant_id, epoch, window_start, level, window_end, revision, version, entries,
         token_limit, settled, admitted, degraded, refused)
       SELECT $1, 1, s, $1 || '-level-' || n, s + interval '30 seconds', 1, 1, n, n, n * 100, n, 0, 0
       FROM (SELECT date_trunc('day', now()) AS s) AS starts, generate_series(1, 3) AS n`,
      [tenant],
    );
    await this.sink.query(
      `INSERT INTO budget_versions (tenant_id, applied_at, version, document, actor, reason)
       SELECT $1, date_trunc('day', now()), n, jsonb_build_object('secret', $1 || n), $1 || '-person', $1 || '-reason-' || n
       FROM generate_series(1, 3) AS n`,
      [tenant],
    );
  }
}

/** The protocol's messages: the driver throws away what COPY sends. */
function wire(client: pg.Client) {
  return (
    client as unknown as {
      readonly connection: {
        on(event: 'copyData', heard: (message: { readonly chunk: Buffer }) => void): void;
      };
    }
  ).connection;
}

async function outcomeOf(work: () => Promise<{ readonly rows: readonly unknown[] }>): Promise<Outcome> {
  try {
    const { rows } = await work();
    return { rows: rows as readonly Record<string, unknown>[] };
  } catch (error) {
    const { code = '', message, detail = '' } = error as { code?: string; message: string; detail?: string };
    return { state: code, message: `${message} ${detail}` };
  }
}
