import type { ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { closeSync, openSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import {
  type ClusterOptions,
  createCluster,
  postgresUrl,
  readPostmasterFile,
  spawnPostgres,
} from '../../shared/launcher/postgres-cluster.js';
import { postgresPrograms } from '../../shared/launcher/postgres-programs.js';
import { ProcessGroups } from '../../shared/launcher/process-groups.js';
import { freePort, until } from './redis-server.js';

const readyMsMax = 30_000;

/**
 * Without fsync: a killed process loses nothing that it has written, because the kernel has it; only a machine that
 * loses power would. That also holds for `kill`.
 */
const testSettings = [
  'fsync=off',
  'max_connections=200',
  'shared_buffers=64MB',
  'dynamic_shared_memory_type=mmap',
  // A given Postgres may be set to any: SQL that needs UTC has to say so.
  'timezone=Asia/Kolkata',
];

/** A real Postgres 18 on a free loopback port, for one test run or one test. Linux only, as the other test support. */
export class PostgresServer {
  private child: ChildProcess | undefined;

  private constructor(
    readonly port: number,
    private readonly folder: string,
    private readonly cluster: ClusterOptions,
    private readonly password: string,
    private readonly settings: readonly string[],
  ) {}

  /** @param settings further ones for the server, as `max_connections=20`. */
  static async start(...settings: string[]): Promise<PostgresServer> {
    const folder = await mkdtemp(join(tmpdir(), 'weir-postgres-'));
    // The user that Postgres runs as where we are root has to pass through it.
    await chmod(folder, 0o711);
    const cluster = { ...postgresPrograms(() => undefined), data: join(folder, 'data') };
    const password = randomBytes(12).toString('hex');
    await createCluster(cluster, { password, sync: false, groups: new ProcessGroups() });
    const server = new PostgresServer(await freePort(), folder, cluster, password, settings);
    await server.restart();
    return server;
  }

  /** Of the owner (a superuser), with the password, in the database `postgres`. */
  get url(): string {
    return postgresUrl(this.port, this.password, 'postgres');
  }

  /** Of the postmaster. */
  get pid(): number {
    return this.child!.pid!;
  }

  /** Makes an empty database that no other test uses; resolves with the owner's URL of it. */
  async createDatabase(): Promise<string> {
    const name = `test_${randomBytes(6).toString('hex')}`;
    const client = new pg.Client({ connectionString: this.url });
    await client.connect();
    try {
      await client.query(`CREATE DATABASE ${name}`);
    } finally {
      await client.end();
    }
    return postgresUrl(this.port, this.password, name);
  }

  /**
   * SIGKILL ends the postmaster and all its children at once, as the out-of-memory killer or a lost machine would;
   * another signal goes to the postmaster alone (SIGINT: fast shutdown, SIGQUIT: crash). Resolves when all are gone.
   */
  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    const { child } = this;
    if (child?.pid === undefined || hasEnded(child)) return;
    const { pid } = child;
    let children: readonly number[] = [];
    if (signal === 'SIGKILL') {
      // Stopped first: it must not start another one while we look.
      child.kill('SIGSTOP');
      children = childrenOf(pid);
      for (const one of children) end(one);
    }
    child.kill(signal);
    await until(readyMsMax, 'Postgres is gone', () => hasEnded(child) && !children.some(lives));
    // What is left of its group is the guard.
    end(-pid);
  }

  /** Starts it again, on the same port and data, after ending it in order if it runs. Resolves when it answers. */
  async restart(): Promise<void> {
    await this.kill('SIGINT');
    const log = openSync(join(this.folder, 'postgres.log'), 'a');
    try {
      this.child = spawnPostgres(this.cluster, this.port, [...testSettings, ...this.settings], log);
    } finally {
      closeSync(log);
    }
    const { child } = this;
    await until(readyMsMax, 'Postgres accepts connections', async () => {
      const file = await readPostmasterFile(this.cluster.data);
      return hasEnded(child) || (file?.pid === child.pid && file?.ready === true);
    });
    if (hasEnded(child)) throw new Error(`Postgres does not start:\n${this.log()}`);
  }

  async stop(): Promise<void> {
    await this.kill('SIGQUIT');
    await rm(this.folder, { recursive: true, force: true });
  }

  /** From now on it does not keep this process alive, and ends with it. */
  lastUntilExit(): void {
    const child = this.child!;
    child.unref();
    // Its guard's pipe.
    (child.stdio[3] as Socket).unref();
    process.once('exit', () => {
      child.kill('SIGSTOP');
      for (const one of [...childrenOf(child.pid!), child.pid!, -child.pid!]) end(one);
      rmSync(this.folder, { recursive: true, force: true, maxRetries: 5 });
    });
  }

  private log(): string {
    return readFileSync(join(this.folder, 'postgres.log'), 'utf8').slice(-2000);
  }
}

function hasEnded({ exitCode, signalCode }: ChildProcess): boolean {
  return exitCode !== null || signalCode !== null;
}

function childrenOf(parent: number): readonly number[] {
  return readdirSync('/proc')
    .map(Number)
    .filter((pid) => pid > 0 && statOf(pid)?.parent === parent);
}

/** A zombie does not live: it waits for its parent alone. */
function lives(pid: number): boolean {
  const state = statOf(pid)?.state;
  return state !== undefined && state !== 'Z' && state !== 'X';
}

function statOf(pid: number): { readonly state: string; readonly parent: number } | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // pid (name) state parent …; the name may hold anything.
    const [state, parent] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return { state: state!, parent: Number(parent) };
  } catch {
    return undefined;
  }
}

function end(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It has ended meanwhile.
  }
}
