import { mkdir, readFile } from 'node:fs/promises';
import { totalmem } from 'node:os';
import { join } from 'node:path';
import { askRedis } from './ask-redis.js';
import { spawnGuarded } from './guarded-command.js';
import { obtainRedis } from './obtain-redis.js';
import { PrivateServer, privateHost, type ServerAnswer, shownPath } from './private-server.js';
import { processCommand } from './process-command.js';
import type { ProcessGroups } from './process-groups.js';
import { assertVersion } from './redis-version.js';
import type { Say } from './say.js';
import type { Store } from './store.js';

const preferredPort = 6399;

export interface PrivateRedisOptions {
  readonly dataDir: string;
  /** As Redis takes it: `2gb`; undefined: half of the machine's. */
  readonly memoryMax: string | undefined;
  /** Folder of package.json. */
  readonly root: string;
  readonly groups: ProcessGroups;
  readonly say: Say;
}

/** A Redis of our own, with its append-only file, port and log in WEIR_DATA_DIR/redis. */
export class PrivateRedis implements Store {
  readonly name = 'redis';
  readonly urlVariable = 'REDIS_URL';
  private readonly folder: string;
  private server: PrivateServer | undefined;

  constructor(private readonly options: PrivateRedisOptions) {
    this.folder = join(options.dataDir, 'redis');
  }

  async start(signal: AbortSignal): Promise<{ url: string; description: string }> {
    const { root, groups, say, memoryMax = String(defaultMemoryMax()) } = this.options;
    const binary = await obtainRedis(root, groups, say);
    signal.throwIfAborted();
    await mkdir(this.folder, { recursive: true, mode: 0o700 });
    this.server = new PrivateServer(
      {
        name: this.name,
        title: 'Redis',
        folder: this.folder,
        port: preferredPort,
        portTaken: /Address already in use/,
        spawn: (port) =>
          spawnGuarded(binary, redisArguments(port, memoryMax), {
            cwd: this.folder,
            stopSignals: ['SIGTERM'],
          }),
        ask: (port, pid) => ask(port, pid, binary),
        predecessor: () => this.predecessor(),
      },
      { groups, say },
    );
    const url = urlOf(await this.server.start(signal));
    return { url, description: `${url}  (private, data in ${shownPath(this.folder)})` };
  }

  async stop(): Promise<void> {
    await this.server?.stop();
  }

  private async predecessor(): Promise<number | undefined> {
    const text = await readFile(join(this.folder, 'redis.pid'), 'utf8').catch(() => '');
    const pid = Number.parseInt(text, 10);
    const command = pid > 0 ? processCommand(pid) : undefined;
    return command !== undefined && /redis|valkey/.test(command) ? pid : undefined;
  }
}

async function ask(port: number, pid: number, binary: string): Promise<ServerAnswer> {
  const answer = await askRedis(urlOf(port));
  if (answer.kind === 'loading') return { kind: 'busy', doing: 'is loading its data' };
  // Another server on this port answers too, while ours has failed to bind it: the pid tells them apart.
  if (answer.kind !== 'ready' || answer.processId !== pid) return { kind: 'away' };
  assertVersion(answer.version, binary);
  return { kind: 'ready' };
}

function urlOf(port: number): string {
  return `redis://${privateHost}:${port}`;
}

/** Half of what this machine has, or of what the container we are in may use: the rest is for everything else. */
export function defaultMemoryMax(
  total: number = totalmem(),
  constrained = process.constrainedMemory(),
): number {
  // 0 or undefined: there is no limit, or nothing is known of it.
  return Math.floor(Math.min(total, constrained || total) / 2);
}

/** Paths stay relative to the working directory, the data folder: no name of a folder shows in the process list. */
function redisArguments(port: number, memoryMax: string): readonly string[] {
  return [
    ...['--port', String(port), '--bind', privateHost, '--dir', './', '--daemonize', 'no'],
    ...['--pidfile', './redis.pid', '--logfile', './redis.log', '--loglevel', 'notice'],
    // At most a second of accepted messages is lost when the machine loses power, none when a process dies.
    ...['--appendonly', 'yes', '--appendfsync', 'everysec', '--save', ''],
    // State may never be evicted: a full Redis refuses writes, and the API answers 503.
    ...['--maxmemory', memoryMax, '--maxmemory-policy', 'noeviction'],
  ];
}
