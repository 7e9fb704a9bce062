import { spawn } from 'node:child_process';
import { accessSync, constants, readFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { LauncherError } from './launcher-error.js';
import type { ProcessGroups } from './process-groups.js';
import type { Say } from './say.js';

const installMsMax = 300_000;

/** What the choice of a Redis depends on. */
export interface SystemFacts {
  /** Path of the first of redis-server and valkey-server found on PATH. */
  readonly server: string | undefined;
  readonly platform: NodeJS.Platform;
  /** Text of /etc/os-release, '' where there is none. */
  readonly osRelease: string;
  readonly isRoot: boolean;
  readonly hasAptGet: boolean;
}

export type RedisChoice =
  | { readonly kind: 'run'; readonly path: string }
  | { readonly kind: 'install' }
  | { readonly kind: 'unavailable'; readonly message: string };

/** Runs what is there; installs only where that is one known command and we may use it; else says which it is. */
export function chooseRedis(facts: SystemFacts): RedisChoice {
  if (facts.server !== undefined) return { kind: 'run', path: facts.server };
  const ids = distributionIds(facts.osRelease);
  const debian = ids.includes('debian') || ids.includes('ubuntu');
  if (debian && facts.isRoot && facts.hasAptGet) return { kind: 'install' };
  return {
    kind: 'unavailable',
    message: [
      'no redis-server or valkey-server on PATH. Install it with',
      `  ${installCommand(facts.platform, ids)}`,
      'or set REDIS_URL to a Redis that runs elsewhere.',
    ].join('\n'),
  };
}

function installCommand(platform: NodeJS.Platform, ids: readonly string[]): string {
  if (platform === 'darwin') return 'brew install redis';
  if (ids.includes('debian') || ids.includes('ubuntu')) return 'sudo apt-get install redis-server';
  if (ids.includes('fedora') || ids.includes('rhel') || ids.includes('centos'))
    return 'sudo dnf install redis';
  if (ids.includes('alpine')) return 'sudo apk add redis';
  if (ids.includes('arch')) return 'sudo pacman -S valkey';
  if (ids.includes('suse') || ids.includes('opensuse')) return 'sudo zypper install redis';
  return 'the package manager of this system (package redis or valkey, version 7 or newer)';
}

/** ID and ID_LIKE of /etc/os-release: `ID=linuxmint`, `ID_LIKE="ubuntu debian"`. */
function distributionIds(osRelease: string): readonly string[] {
  return [...osRelease.matchAll(/^ID(?:_LIKE)?="?([^"\n]*)"?$/gm)].flatMap(([, ids]) => ids!.split(' '));
}

/**
 * The path of a Redis server, installed first if need be.
 * @throws LauncherError with the one command that helps.
 */
export async function obtainRedis(root: string, groups: ProcessGroups, say: Say): Promise<string> {
  const choice = chooseRedis(systemFacts());
  if (choice.kind === 'run') return choice.path;
  if (choice.kind === 'unavailable') throw new LauncherError(choice.message);
  say('redis', 'no redis-server on PATH: installing the package redis-server with apt-get');
  await install(join(root, 'shared/launcher/install-redis.sh'), groups);
  const server = findServer();
  if (server === undefined) throw new LauncherError('apt-get installed redis-server, but it is not on PATH');
  return server;
}

function systemFacts(): SystemFacts {
  return {
    server: findServer(),
    platform: process.platform,
    osRelease: readText('/etc/os-release'),
    isRoot: process.getuid?.() === 0,
    hasAptGet: findOnPath('apt-get') !== undefined,
  };
}

function findServer(): string | undefined {
  return findOnPath('redis-server') ?? findOnPath('valkey-server');
}

function findOnPath(name: string): string | undefined {
  const folders = (process.env['PATH'] ?? '').split(delimiter).filter((folder) => folder !== '');
  return folders.map((folder) => join(folder, name)).find(isExecutable);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

/** In a group of its own: a Ctrl-C must not cut dpkg off halfway; a second one does (and may leave it to repair). */
async function install(script: string, groups: ProcessGroups): Promise<void> {
  const child = spawn('sh', [script], { detached: true, stdio: ['ignore', 'pipe', 'pipe'] });
  if (child.pid !== undefined) groups.add(child.pid);
  let output = '';
  const collect = (chunk: Buffer): void => {
    output = (output + chunk.toString()).slice(-4000);
  };
  child.stdout.on('data', collect);
  child.stderr.on('data', collect);
  const timer = setTimeout(() => groups.kill(child.pid!), installMsMax);
  const code = await new Promise<number | null>((resolve) => {
    child.once('error', () => resolve(null));
    child.once('close', resolve);
  });
  clearTimeout(timer);
  if (child.pid !== undefined) groups.remove(child.pid);
  if (code === 0) return;
  throw new LauncherError(
    `apt-get could not install redis-server. Its last lines:\n${output.trim()}\nTry: apt-get install redis-server`,
  );
}
