import { link, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { LauncherError } from './launcher-error.js';
import { isRunning, type LauncherIdentity, ownIdentity } from './launcher-identity.js';

export interface DataDirLock {
  /** The launcher before this one was killed: its processes may still be ending. */
  readonly leftBehind: boolean;
  release(): Promise<void>;
}

/**
 * One launcher per data folder: two private Redis servers on one append-only file would destroy it. The lock is a
 * file with the launcher's pid and start; one whose process is gone, or is another program by now, is taken over.
 * @throws LauncherError when another launcher lives, or the folder cannot be written.
 */
export async function lockDataDir(dataDir: string): Promise<DataDirLock> {
  const path = join(dataDir, 'launcher.pid');
  const own = `${path}.${process.pid}`;
  try {
    await mkdir(dataDir, { recursive: true, mode: 0o700 });
    const { pid, start } = ownIdentity();
    await writeFile(own, `${pid} ${start}\n`);
  } catch (error) {
    throw new LauncherError(`the data folder cannot be written: ${(error as Error).message}`);
  }
  let leftBehind = false;
  try {
    // link() is atomic and fails when the name exists; what it publishes is complete.
    while (!(await linked(own, path))) {
      await removeStale(path, dataDir);
      leftBehind = true;
    }
  } finally {
    await rm(own, { force: true });
  }
  return { leftBehind, release: () => rm(path, { force: true }) };
}

async function linked(from: string, to: string): Promise<boolean> {
  try {
    await link(from, to);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

async function removeStale(path: string, dataDir: string): Promise<void> {
  refuseLiving(await readIdentity(path), dataDir);
  // Another launcher may have taken it over since it was read: look again at what was moved away.
  const moved = `${path}.stale.${process.pid}`;
  await rename(path, moved).catch(() => undefined);
  try {
    refuseLiving(await readIdentity(moved), dataDir);
  } catch (error) {
    await linked(moved, path);
    throw error;
  } finally {
    await rm(moved, { force: true });
  }
}

function refuseLiving(launcher: LauncherIdentity | undefined, dataDir: string): void {
  if (launcher === undefined || launcher.pid === process.pid || !isRunning(launcher)) return;
  throw new LauncherError(
    `another launcher (pid ${launcher.pid}) already runs on ${dataDir}: stop it, or set WEIR_DATA_DIR to another folder`,
  );
}

async function readIdentity(path: string): Promise<LauncherIdentity | undefined> {
  const text = await readFile(path, 'utf8').catch(() => '');
  const [first = '', ...start] = text.trim().split(' ');
  const pid = Number.parseInt(first, 10);
  if (!Number.isSafeInteger(pid) || pid <= 0) return undefined;
  // That of `ps` has spaces.
  return { pid, start: start.length === 0 ? undefined : start.join(' ') };
}
