import { type ChildProcess, spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { rmSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Redis } from 'ioredis';
import { obtainRedis } from '../../shared/launcher/obtain-redis.js';
import { bindError } from '../../shared/launcher/ports.js';
import { ProcessGroups } from '../../shared/launcher/process-groups.js';
import { say } from '../../shared/launcher/say.js';

/** How much slower than a machine with nothing else to do ours may be. */
const PATIENCE = 4;

/** dist/test/support/ → the folder of package.json. */
const root = fileURLToPath(new URL('../../../', import.meta.url));

/** A real Redis on a free loopback port, with AOF, for one test run or one test. */
export class RedisServer {
  private child: ChildProcess | undefined;

  private constructor(
    readonly port: number,
    private readonly folder: string,
    private settings: readonly string[],
  ) {}

  static async start(...settings: string[]): Promise<RedisServer> {
    const server = new RedisServer(await freePort(), await mkdtemp(join(tmpdir(), 'weir-redis-')), settings);
    await server.up();
    return server;
  }

  get url(): string {
    return `redis://127.0.0.1:${this.port}`;
  }

  get pid(): number {
    return this.child!.pid!;
  }

  async up(): Promise<void> {
    // As `npm start` obtains it: installed first where that is one known command.
    const program = await obtainRedis(root, new ProcessGroups(), say);
    this.child = spawn(
      program,
      [
        ...['--port', String(this.port), '--bind', '127.0.0.1', '--dir', this.folder],
        ...['--appendonly', 'yes', '--appendfsync', 'everysec', '--save', '', '--loglevel', 'warning'],
        ...['--maxmemory-policy', 'noeviction', ...this.settings],
      ],
      { stdio: 'ignore' },
    );
    await until(10_000, 'Redis answers PING', async () => (await this.ping()) === 'PONG');
  }

  /** SIGTERM: Redis writes its AOF and leaves. */
  async down(): Promise<void> {
    await this.end('SIGTERM');
  }

  async restart(): Promise<void> {
    await this.down();
    await this.up();
  }

  /** SIGKILL, then up again: with what it had written, and with other `settings` where some are given. */
  async crash(...settings: string[]): Promise<void> {
    await this.end('SIGKILL');
    this.settings = [...this.settings, ...settings];
    await this.up();
  }

  async stop(): Promise<void> {
    await this.end('SIGKILL');
    await rm(this.folder, { recursive: true, force: true });
  }

  /** From now on it does not keep this process alive, and ends with it. */
  lastUntilExit(): void {
    this.child!.unref();
    process.once('exit', () => {
      this.child!.kill('SIGKILL');
      rmSync(this.folder, { recursive: true, force: true, maxRetries: 5 });
    });
  }

  private async end(signal: NodeJS.Signals): Promise<void> {
    const child = this.child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const gone = new Promise((resolve) => child.once('exit', resolve));
    child.kill(signal);
    await gone;
  }

  private async ping(): Promise<string> {
    const redis = new Redis(this.url, { lazyConnect: true, retryStrategy: () => null });
    redis.on('error', () => undefined);
    try {
      await redis.connect();
      return await redis.ping();
    } catch {
      return '';
    } finally {
      redis.disconnect();
    }
  }
}

/** Below the ports that the system gives to connections, so that none takes it while a server is restarted on it. */
export async function freePort(): Promise<number> {
  for (let attempt = 0; attempt < 100; attempt += 1) {
    const port = randomInt(10_000, 32_000);
    if ((await bindError('127.0.0.1', port)) === undefined) return port;
  }
  throw new Error('no free port');
}

/** As long as something may take here that takes at most `quietMs` on a machine with nothing else to do. */
export function patient(quietMs: number): number {
  return PATIENCE * quietMs;
}

/** Waits for a condition, patiently. @throws with the last error or `what` after that. */
export async function until(
  quietMs: number,
  what: string,
  condition: () => boolean | Promise<boolean>,
): Promise<void> {
  const begun = performance.now();
  const deadlineMs = patient(quietMs);
  let lastError: unknown;
  for (;;) {
    try {
      if (await condition()) return;
      lastError = undefined;
    } catch (error) {
      lastError = error;
    }
    const elapsedMs = performance.now() - begun;
    if (elapsedMs > deadlineMs) throw new Error(`not within ${deadlineMs} ms: ${what}`, { cause: lastError });
    // Who has waited long can wait a little longer: looking costs the others time.
    await sleep(Math.min(5 + elapsedMs / 20, 50));
  }
}
