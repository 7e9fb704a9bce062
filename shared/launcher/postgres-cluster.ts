import { type ChildProcess, spawn } from 'node:child_process';
import { chown, mkdir, readFile, readlink, rm, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { spawnGuarded } from './guarded-command.js';
import { LauncherError } from './launcher-error.js';
import type { PostgresPrograms } from './postgres-programs.js';
import { privateHost } from './private-server.js';
import { processCommand } from './process-command.js';
import type { ProcessGroups } from './process-groups.js';

/** The superuser of a cluster that we make, and owner of everything in it. */
const ownerName = 'weir';

export interface ClusterOptions extends PostgresPrograms {
  /** The cluster's folder; it belongs to the user that Postgres runs as. */
  readonly data: string;
}

export interface CreateOptions {
  /** Of the superuser. */
  readonly password: string;
  /** Without it the cluster may be lost with the machine's power. */
  readonly sync: boolean;
  readonly groups: ProcessGroups;
  readonly signal?: AbortSignal;
}

/** What a cluster's postmaster.pid says; undefined where there is none. */
export interface PostmasterFile {
  readonly pid: number;
  /** It accepts connections. */
  readonly ready: boolean;
}

/**
 * Makes a cluster in the folder `data`, which is empty or missing: UTF-8 in Postgres' own C.UTF-8, so that it sorts the
 * same on every system, and no login without the password.
 * @throws LauncherError with initdb's own words; or the reason of an abort.
 */
export async function createCluster(
  { bin, owner, data }: ClusterOptions,
  { password, sync, groups, signal }: CreateOptions,
): Promise<void> {
  signal?.throwIfAborted();
  await mkdir(data, { recursive: true, mode: 0o700 });
  const passwordFile = `${data}.password`;
  await writeFile(passwordFile, `${password}\n`, { mode: 0o600 });
  if (owner !== undefined) {
    for (const path of [data, passwordFile]) await chown(path, owner.uid, owner.gid);
  }
  const child = spawn(
    'initdb',
    [
      ...['-D', '.', '--username', ownerName, '--pwfile', `../${basename(passwordFile)}`],
      ...['--encoding', 'UTF8', '--locale', 'C', '--locale-provider', 'builtin'],
      ...['--builtin-locale', 'C.UTF-8', '--auth', 'scram-sha-256', '--no-instructions'],
      ...(sync ? [] : ['--no-sync']),
    ],
    { ...owner, cwd: data, env: environment(bin), detached: true, stdio: ['ignore', 'ignore', 'pipe'] },
  );
  const { pid } = child;
  if (pid !== undefined) groups.add(pid);
  const abort = (): void => groups.kill(pid!);
  signal?.addEventListener('abort', abort);
  let output = '';
  child.stderr.on('data', (chunk: Buffer) => {
    output = (output + chunk.toString()).slice(-2000);
  });
  const how = await new Promise<string | undefined>((resolve) => {
    child.once('error', (error) => resolve(error.message));
    child.once('close', (code, name) => resolve(code === 0 ? undefined : (name ?? `exit code ${code}`)));
  });
  signal?.removeEventListener('abort', abort);
  if (pid !== undefined) groups.remove(pid);
  await rm(passwordFile, { force: true });
  signal?.throwIfAborted();
  if (how === undefined) return;
  throw new LauncherError(`initdb could not make a Postgres cluster in ${data} (${how}):\n${output.trim()}`);
}

/**
 * Starts the server of a cluster, in a process group of its own and with a guard. The child's pid is the postmaster's.
 * SIGINT is what ends it: SIGTERM would wait for the clients to leave.
 * @param log file descriptor that its log goes to.
 */
export function spawnPostgres(
  { bin, owner, data }: ClusterOptions,
  port: number,
  settings: readonly string[],
  log: number,
): ChildProcess {
  const fixed = [
    `listen_addresses=${privateHost}`,
    `port=${port}`,
    // No socket file: two servers would share a folder for it.
    'unix_socket_directories=',
    // The log names no customer: neither statements nor rows.
    'log_min_error_statement=panic',
    'log_error_verbosity=terse',
    'log_checkpoints=off',
    'max_logical_replication_workers=0',
  ];
  return spawnGuarded(
    'postgres',
    ['-D', '.', ...[...fixed, ...settings].flatMap((setting) => ['-c', setting])],
    {
      ...owner,
      cwd: data,
      env: environment(bin),
      stopSignals: ['SIGINT', 'SIGQUIT'],
      log,
    },
  );
}

export async function readPostmasterFile(data: string): Promise<PostmasterFile | undefined> {
  const text = await readFile(join(data, 'postmaster.pid'), 'utf8').catch(() => '');
  const lines = text.split('\n');
  const pid = Number.parseInt(lines[0] ?? '', 10);
  return pid > 0 ? { pid, ready: lines[7]?.trim() === 'ready' } : undefined;
}

/**
 * The process that uses the cluster's data, if one does. Takes away the file of a server that is gone and whose pid
 * another program has got (in a container pids repeat): Postgres itself would take that one for its predecessor.
 */
export async function clusterProcess(data: string): Promise<number | undefined> {
  const file = await readPostmasterFile(data);
  if (file === undefined) return undefined;
  const command = processCommand(file.pid);
  if (command === undefined) return undefined;
  const workingDirectory = await readlink(`/proc/${file.pid}/cwd`).catch(() => undefined);
  const isServer = workingDirectory === undefined ? command.includes('postgres') : workingDirectory === data;
  if (isServer) return file.pid;
  await rm(join(data, 'postmaster.pid'), { force: true });
  return undefined;
}

export function postgresUrl(port: number, password: string, database: string): string {
  return `postgres://${ownerName}:${password}@${privateHost}:${port}/${database}`;
}

/** Programs are found on PATH, and files from the working directory: no name of a folder shows in the process list. */
function environment(bin: string): NodeJS.ProcessEnv {
  // Settings for libpq and for Postgres itself are somebody else's.
  const ours = Object.entries(process.env).filter(([name]) => !/^(PG|LC_|LANG)/.test(name));
  return { ...Object.fromEntries(ours), LC_ALL: 'C', PATH: `${bin}:${process.env['PATH'] ?? ''}` };
}
