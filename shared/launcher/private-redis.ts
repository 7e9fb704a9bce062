import { mkdir, open, readFile, rename, writeFile } from 'node:fs/promises';
import { isAbsolute, join, relative } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { askRedis } from './ask-redis.js';
import { spawnGuarded } from './guarded-command.js';
import { LauncherError } from './launcher-error.js';
import { obtainRedis } from './obtain-redis.js';
import { bindError, freePort } from './ports.js';
import { processCommand } from './process-command.js';
import type { ProcessGroups } from './process-groups.js';
import { assertVersion } from './redis-version.js';
import type { Say } from './say.js';
import type { StopRequest } from './stop-request.js';
import type { Store } from './store.js';
import { SupervisedProcess } from './supervised-process.js';

const host = '127.0.0.1';
/** Tried in this order after the one used before; then any free port. Below the range of outgoing connections. */
const preferredPorts = Array.from({ length: 20 }, (_, index) => 6399 + index);
const portAttemptsMax = 5;
const answerMsMax = 15_000;
const loadingMsMax = 600_000;
const reportMs = 5000;
const pollMs = 25;
const stopMsMax = 15_000;
/** A server whose launcher was killed ends by itself after 2 s, after 7 s at the latest. */
const leftoverMsMax = 15_000;
const logTailBytes = 2000;

export interface PrivateRedisOptions {
  readonly dataDir: string;
  /** Folder of package.json. */
  readonly root: string;
  readonly groups: ProcessGroups;
  readonly say: Say;
  readonly stop: StopRequest;
}

/**
 * A Redis of our own on a loopback port, with its append-only file, port and log in WEIR_DATA_DIR/redis. Started
 * again, on the same port and data, whenever it ends.
 */
export class PrivateRedis implements Store {
  readonly name = 'redis';
  readonly urlVariable = 'REDIS_URL';
  private readonly folder: string;
  private process: SupervisedProcess | undefined;

  constructor(private readonly options: PrivateRedisOptions) {
    this.folder = join(options.dataDir, 'redis');
  }

  async start(signal: AbortSignal): Promise<{ url: string; description: string }> {
    const { root, groups, say, dataDir } = this.options;
    const binary = await obtainRedis(root, groups, say);
    signal.throwIfAborted();
    await mkdir(this.folder, { recursive: true, mode: 0o700 });
    await this.whenPredecessorGone(signal);
    for (let attempt = 1; attempt <= portAttemptsMax; attempt += 1) {
      const port = await this.choosePort();
      if (await this.runs(binary, port, signal)) {
        await writeFile(this.file('port'), `${port}\n`);
        const url = `redis://${host}:${port}`;
        return { url, description: `${url}  (private, data in ${shownPath(dataDir)}/redis)` };
      }
      // Somebody took the port between our look and our start: look again.
    }
    throw new LauncherError(`no free port for Redis in ${portAttemptsMax} attempts`);
  }

  async stop(): Promise<void> {
    if (this.process === undefined) return;
    await this.process.stop(stopMsMax);
    this.options.say('stopped', 'redis');
  }

  /** Starts it and waits until it answers; false when its port was taken after all. @throws LauncherError */
  private async runs(binary: string, port: number, signal: AbortSignal): Promise<boolean> {
    const { groups, say } = this.options;
    let answered = false;
    await rename(this.file('redis.log'), this.file('redis.log.1')).catch(() => undefined);
    const server = new SupervisedProcess({
      name: 'redis',
      groups,
      say,
      spawn: () => spawnGuarded(binary, redisArguments(port), this.folder),
      onStart: ({ pid }, previousEnd) => {
        if (previousEnd !== undefined) say('redis', `pid ${pid}`);
      },
      restarts: () => answered,
    });
    this.process = server;
    server.start();
    const startedAt = performance.now();
    let reportAt = startedAt + reportMs;
    while (server.ended === undefined) {
      const answer = await askRedis(`redis://${host}:${port}`);
      // Another server on this port answers too, while ours has failed to bind it: the pid tells them apart.
      if (answer.kind === 'ready' && answer.processId === server.pid) {
        assertVersion(answer.version, binary);
        answered = true;
        return true;
      }
      const now = performance.now();
      if (now - startedAt > (answer.kind === 'loading' ? loadingMsMax : answerMsMax)) break;
      if (now > reportAt) {
        say('redis', answer.kind === 'loading' ? 'is loading its data' : 'does not answer yet');
        reportAt = now + reportMs;
      }
      await delay(pollMs, undefined, { signal });
    }
    const log = await this.logTail();
    if (server.ended !== undefined && /Address already in use/.test(log)) return false;
    const how = server.ended?.how ?? `no answer within ${answerMsMax / 1000} s`;
    throw new LauncherError(`Redis does not start (${how}). The end of ${this.file('redis.log')}:\n${log}`);
  }

  /** Two servers on one append-only file would destroy it. */
  private async whenPredecessorGone(signal: AbortSignal): Promise<void> {
    const deadline = performance.now() + leftoverMsMax;
    let said = false;
    for (;;) {
      const pid = Number.parseInt(await readText(this.file('redis.pid')), 10);
      const command = pid > 0 ? processCommand(pid) : undefined;
      if (command === undefined || !/redis|valkey/.test(command)) return;
      if (performance.now() > deadline) {
        throw new LauncherError(`another Redis (pid ${pid}) still uses ${this.folder}: stop it first`);
      }
      if (!said) this.options.say('redis', `the one of the last run (pid ${pid}) is still ending`);
      said = true;
      await delay(100, undefined, { signal });
    }
  }

  private async choosePort(): Promise<number> {
    const last = Number.parseInt(await readText(this.file('port')), 10);
    for (const port of last > 0 ? [last, ...preferredPorts] : preferredPorts) {
      if ((await bindError(host, port)) === undefined) return port;
    }
    return freePort(host);
  }

  private async logTail(): Promise<string> {
    const log = await open(this.file('redis.log')).catch(() => undefined);
    if (log === undefined) return '(there is none)';
    try {
      const { size } = await log.stat();
      const start = Math.max(0, size - logTailBytes);
      const { buffer } = await log.read({ buffer: Buffer.alloc(size - start), position: start });
      return buffer.toString('utf8').trim();
    } finally {
      await log.close();
    }
  }

  private file(name: string): string {
    return join(this.folder, name);
  }
}

/** Paths stay relative to the working directory, the data folder: no name of a folder shows in the process list. */
function redisArguments(port: number): readonly string[] {
  return [
    ...['--port', String(port), '--bind', host, '--dir', './', '--daemonize', 'no'],
    ...['--pidfile', './redis.pid', '--logfile', './redis.log', '--loglevel', 'notice'],
    // At most a second of accepted messages is lost when the machine loses power, none when a process dies.
    ...['--appendonly', 'yes', '--appendfsync', 'everysec', '--save', ''],
    // State may never be evicted: a full Redis refuses writes, and the API answers 503.
    ...['--maxmemory-policy', 'noeviction'],
  ];
}

async function readText(path: string): Promise<string> {
  return readFile(path, 'utf8').catch(() => '');
}

function shownPath(path: string): string {
  const fromHere = relative(process.cwd(), path);
  return fromHere.startsWith('..') || isAbsolute(fromHere) ? path : fromHere;
}
