import { createHash } from 'node:crypto';
import type { CompiledQuery, DatabaseConnection, Driver, QueryResult } from 'kysely';
import type pg from 'pg';
import { sqlState } from './errors.js';
import { StatementNames } from './statement-names.js';

/** One snapshot for all queries of a transaction; a role that owns nothing needs no more than to read. */
const BEGIN = 'START TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY';

/**
 * Both settings end with the transaction (the third argument). The values are parameters, so that the proof stands
 * in no query text: sessions of one role can read each other's in pg_stat_activity.
 */
const SET_TENANT = `SELECT set_config('weir.tenant', $1, true), set_config('weir.tenant_proof', $2, true)`;

/**
 * After such an error the connection is closed. `0A`, `26`: a prepared statement was made before a migration changed
 * its columns, or is gone. `42`: a query that is wrong or asks for what it may not have; code of ours has none, and
 * what somebody else's has set in the session (search_path, row_security) must not meet the next tenant.
 */
const UNFIT_AFTER = /^(0A|26|42)/;

/** What weir_current_tenant() in the database computes too. Who has the key may be any tenant. */
export function tenantProof(tenant: string, tenantKey: string): string {
  return createHash('sha256').update(`${tenantKey}:${tenant}:${tenantKey}`).digest('hex');
}

/** Kysely's driver for TenantDatabase: every connection it gives out is in a transaction of the current tenant. */
export class TenantDriver implements Driver {
  private readonly statements = new StatementNames();

  constructor(
    private readonly pool: pg.Pool,
    private readonly tenantKey: string,
    private readonly currentTenant: () => string,
  ) {}

  init(): Promise<void> {
    return Promise.resolve();
  }

  async acquireConnection(): Promise<TenantConnection> {
    const tenant = this.currentTenant();
    const client = await this.pool.connect();
    return new TenantConnection(client, tenant, this.currentTenant, this.statements);
  }

  beginTransaction(connection: DatabaseConnection): Promise<void> {
    const tenant = this.currentTenant();
    (connection as TenantConnection).begin(tenantProof(tenant, this.tenantKey));
    return Promise.resolve();
  }

  commitTransaction(connection: DatabaseConnection): Promise<void> {
    (connection as TenantConnection).end('COMMIT');
    return Promise.resolve();
  }

  rollbackTransaction(connection: DatabaseConnection): Promise<void> {
    (connection as TenantConnection).end('ROLLBACK');
    return Promise.resolve();
  }

  releaseConnection(connection: DatabaseConnection): Promise<void> {
    (connection as TenantConnection).release();
    return Promise.resolve();
  }

  /** The pool belongs to who made it. */
  destroy(): Promise<void> {
    return Promise.resolve();
  }
}

/** A connection for the time of one transaction. Afterwards it answers nothing, though its client lives on. */
class TenantConnection implements DatabaseConnection {
  private ended: Promise<unknown> | undefined;
  private unfit: Error | undefined;

  constructor(
    private readonly client: pg.PoolClient,
    private readonly tenant: string,
    private readonly currentTenant: () => string,
    private readonly statements: StatementNames,
  ) {}

  /**
   * Not waited for: the first query follows in the same packet. Should one of the two fail, then so does every query
   * after them, because the transaction is aborted or weir_current_tenant() finds no proof.
   */
  begin(proof: string): void {
    this.send(BEGIN).catch(ignore);
    this.send(SET_TENANT, [this.tenant, proof]).catch(ignore);
  }

  async executeQuery<R>({ sql, parameters }: CompiledQuery): Promise<QueryResult<R>> {
    if (this.ended !== undefined) throw new Error('the transaction is over');
    // A transaction handed to another tenant's work would show it rows that are not its own.
    if (this.currentTenant() !== this.tenant) throw new Error('the transaction is of another tenant');
    try {
      const { rows } = await this.send(sql, parameters);
      return { rows: rows as R[] };
    } catch (error) {
      if (UNFIT_AFTER.test(sqlState(error) ?? '')) this.unfit = error as Error;
      throw error;
    }
  }

  // biome-ignore lint/correctness/useYield: Kysely asks for the method; a cursor cannot share a pipelined connection.
  async *streamQuery(): AsyncIterableIterator<never> {
    throw new Error('streaming is not supported: read page by page');
  }

  end(command: 'COMMIT' | 'ROLLBACK'): void {
    this.ended ??= this.send(command);
  }

  /** A client whose transaction did not end in order is closed: the next tenant gets a fresh one. */
  release(): void {
    const ended = this.ended ?? Promise.reject(new Error('the transaction was never ended'));
    ended.then(
      () => this.client.release(this.unfit),
      (error: Error) => this.client.release(error),
    );
  }

  /** Always the extended protocol: it takes one statement at a time, so that none can be smuggled in behind. */
  private send(text: string, values: readonly unknown[] = []): Promise<pg.QueryResult> {
    const name = this.statements.nameOf(text);
    const query: pg.QueryConfig & { readonly queryMode: 'extended' } = {
      text,
      values: [...values],
      queryMode: 'extended',
      ...(name === undefined ? {} : { name }),
    };
    return this.client.query(query);
  }
}

function ignore(): void {}
