import { link, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { LauncherError } from './launcher-error.js';
import { processCommand } from './process-command.js';

export interface DataDirLock {
  /** The launcher before this one was killed: its processes may still be ending. */
  readonly leftBehind: boolean;
  release(): Promise<void>;
}

/**
 * One launcher per data folder: two private Redis servers on one append-only file would destroy it. The lock is a
 * file with the launcher's pid; one whose process is gone, or is no launcher (pids are used again), is taken over.
 * @throws LauncherError when another launcher lives, or the folder cannot be written.
 */
export async function lockDataDir(dataDir: string): Promise<DataDirLock> {
  const path = join(dataDir, 'launcher.pid');
  const own = `${path}.${process.pid}`;
  try {
    await mkdir(dataDir, { recursive: true, mode: 0o700 });
    await writeFile(own, `${process.pid}\n`);
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
  refuseLiving(await readPid(path), dataDir);
  // Another launcher may have taken it over since it was read: look again at what was moved away.
  const moved = `${path}.stale.${process.pid}`;
  await rename(path, moved).catch(() => undefined);
  try {
    refuseLiving(await readPid(moved), dataDir);
  } catch (error) {
    await linked(moved, path);
    throw error;
  } finally {
    await rm(moved, { force: true });
  }
}

function refuseLiving(pid: number | undefined, dataDir: string): void {
  if (pid === undefined || pid === process.pid) return;
  if (processCommand(pid)?.includes('launcher') !== true) return;
  throw new LauncherError(
    `another launcher (pid ${pid}) already runs on ${dataDir}: stop it, or set WEIR_DATA_DIR to another folder`,
  );
}

async function readPid(path: string): Promise<number | undefined> {
  const text = await readFile(path, 'utf8').catch(() => '');
  const pid = Number.parseInt(text, 10);
  return Number.isSafeInteger(pid) && pid > 0 ? pid : undefined;
}
