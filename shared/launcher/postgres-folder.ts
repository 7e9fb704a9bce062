import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  chmod,
  mkdir,
  readdir,
  readFile,
  realpath,
  rename,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { LauncherError } from './launcher-error.js';
import { createCluster } from './postgres-cluster.js';
import { canPass, type PostgresPrograms, type ProcessOwner, systemFolder } from './postgres-programs.js';
import type { ProcessGroups } from './process-groups.js';

const unfinishedMark = '.new-';

export interface PreparedCluster {
  /** Absolute path without symbolic links. */
  readonly data: string;
  /** Of the superuser. */
  readonly password: string;
}

/**
 * The cluster of a data folder, in `<folder>/data`, made first where there is none; its password in
 * `<folder>/password`. Where we are root Postgres runs as another user. If that one cannot reach the folder (a clone in
 * /root), the cluster lies in /var/lib/weir and `data` is a link to it: without the link it is not used again.
 * @throws LauncherError
 */
export async function prepareCluster(
  folder: string,
  programs: PostgresPrograms,
  running: { readonly groups: ProcessGroups; readonly signal: AbortSignal },
): Promise<PreparedCluster> {
  const { owner } = programs;
  await mkdir(folder, { recursive: true, mode: 0o700 });
  if (owner !== undefined) {
    for (const passed of [dirname(folder), folder]) await letPass(passed);
  }
  const link = join(folder, 'data');
  const passwordFile = join(folder, 'password');
  const existing = await realpath(link).catch(() => undefined);
  if (existing !== undefined) {
    const password = await readPassword(passwordFile, existing);
    await assertOwned(existing, owner);
    return { data: existing, password };
  }
  const password = randomBytes(24).toString('base64url');
  await writeFile(passwordFile, `${password}\n`, { mode: 0o600 });
  const reachable = owner === undefined || canPass(folder, owner);
  const data = reachable ? link : join(systemFolder(), `data-${randomBytes(6).toString('hex')}`);
  // A cluster under its final name is complete: a launcher may be killed in between. Then its initdb still writes for a
  // moment, hence a new name each time.
  await removeUnfinished(folder);
  const unfinished = `${data}${unfinishedMark}${randomBytes(4).toString('hex')}`;
  try {
    await createCluster({ ...programs, data: unfinished }, { password, sync: true, ...running });
    await rename(unfinished, data);
  } finally {
    await rm(unfinished, { recursive: true, force: true });
  }
  if (!reachable) {
    // One whose target is gone may be in the way.
    await rm(link, { force: true });
    await symlink(data, link);
  }
  return { data: await realpath(data), password };
}

async function removeUnfinished(folder: string): Promise<void> {
  for (const name of await readdir(folder)) {
    if (!name.includes(unfinishedMark)) continue;
    // The next start tries again.
    await rm(join(folder, name), { recursive: true, force: true }).catch(() => undefined);
  }
}

/** Others may pass through the folder; they still cannot list it, and what lies in it has rights of its own. */
async function letPass(folder: string): Promise<void> {
  const { mode } = await stat(folder);
  if ((mode & 0o011) !== 0o011) await chmod(folder, (mode & 0o777) | 0o011);
}

async function readPassword(file: string, data: string): Promise<string> {
  const password = (await readFile(file, 'utf8').catch(() => '')).trim();
  if (password !== '') return password;
  throw new LauncherError(
    `the password of the Postgres in ${data} cannot be read from ${file}: ` +
      'put it back, or delete that Postgres with its data to start anew',
  );
}

/** A data folder may come from another machine, or from a run as another user. */
async function assertOwned(data: string, owner: ProcessOwner | undefined): Promise<void> {
  const { uid } = await stat(data);
  if (owner !== undefined) {
    if (uid !== owner.uid) await promisify(execFile)('chown', ['-R', `${owner.uid}:${owner.gid}`, data]);
  } else if (process.getuid !== undefined && uid !== process.getuid()) {
    throw new LauncherError(
      `the Postgres in ${data} belongs to another user (uid ${uid}): start weir as root, or give it to yourself with\n` +
        `  sudo chown -R ${process.getuid()} ${data}`,
    );
  }
}
