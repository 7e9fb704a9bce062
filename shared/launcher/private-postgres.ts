import type { ChildProcess } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import pg from 'pg';
import { LauncherError } from './launcher-error.js';
import {
  type ClusterOptions,
  clusterProcess,
  postgresUrl,
  readPostmasterFile,
  spawnPostgres,
} from './postgres-cluster.js';
import { prepareCluster } from './postgres-folder.js';
import { postgresPrograms } from './postgres-programs.js';
import {
  PrivateServer,
  type PrivateServerContext,
  privateHost,
  type ServerAnswer,
  shownPath,
} from './private-server.js';
import type { Store } from './store.js';

const preferredPort = 5440;
const database = 'weir';
const connectMsMax = 5000;

export interface PrivatePostgresOptions extends PrivateServerContext {
  readonly dataDir: string;
  readonly connectionsMax: number;
}

/** A Postgres of our own, with its data, password, port and log in WEIR_DATA_DIR/postgres, and a database `weir`. */
export class PrivatePostgres implements Store {
  readonly name = 'postgres';
  readonly urlVariable = 'DATABASE_URL';
  private readonly folder: string;
  private server: PrivateServer | undefined;

  constructor(private readonly options: PrivatePostgresOptions) {
    this.folder = join(options.dataDir, 'postgres');
  }

  async start(signal: AbortSignal): Promise<{ url: string; description: string }> {
    const { groups, say } = this.options;
    const programs = postgresPrograms((text) => say(this.name, text));
    const { data, password } = await prepareCluster(this.folder, programs, { groups, signal });
    this.server = new PrivateServer(
      {
        name: this.name,
        title: 'Postgres',
        folder: this.folder,
        port: preferredPort,
        portTaken: /could not bind .*: Address already in use/,
        spawn: (port) => this.spawn({ ...programs, data }, port),
        // SIGTERM would wait for the clients to leave.
        signals: { stopSignal: 'SIGINT', abortSignal: 'SIGQUIT' },
        ask: (_, pid) => ask(data, pid),
        predecessor: () => clusterProcess(data),
      },
      this.options,
    );
    const port = await this.server.start(signal);
    await createDatabase(postgresUrl(port, password, 'postgres'), this.folder);
    return {
      url: postgresUrl(port, password, database),
      description: `postgres://${privateHost}:${port}/${database}  (private, data in ${this.shownFolder(data)})`,
    };
  }

  async stop(): Promise<void> {
    await this.server?.stop();
  }

  private spawn(cluster: ClusterOptions, port: number): ChildProcess {
    const settings = [`max_connections=${this.options.connectionsMax}`, 'timezone=UTC'];
    const log = openSync(join(this.folder, 'postgres.log'), 'a', 0o600);
    try {
      return spawnPostgres(cluster, port, settings, log);
    } finally {
      closeSync(log);
    }
  }

  private shownFolder(data: string): string {
    const inside = data === join(this.folder, 'data');
    return inside
      ? shownPath(this.folder)
      : `${data}: the system user of Postgres cannot reach ${this.folder}`;
  }
}

/** By its own file: a connection would tell nothing about which server is on the port. */
async function ask(data: string, pid: number): Promise<ServerAnswer> {
  const file = await readPostmasterFile(data);
  if (file?.pid !== pid) return { kind: 'away' };
  return file.ready ? { kind: 'ready' } : { kind: 'busy', doing: 'is recovering its data' };
}

async function createDatabase(url: string, folder: string): Promise<void> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: connectMsMax });
  client.on('error', () => undefined);
  try {
    await client.connect();
    const { rowCount } = await client.query('SELECT FROM pg_database WHERE datname = $1', [database]);
    if (rowCount === 0) await client.query(`CREATE DATABASE ${database}`);
  } catch (error) {
    throw new LauncherError(`the Postgres in ${folder} refuses us: ${(error as Error).message}`);
  } finally {
    await client.end().catch(() => undefined);
  }
}
