import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Redis } from 'ioredis';
import { spawnGuarded } from '../../shared/launcher/guarded-command.js';
import { obtainRedis } from '../../shared/launcher/obtain-redis.js';
import { ProcessGroups } from '../../shared/launcher/process-groups.js';
import { say } from '../../shared/launcher/say.js';
import { stopChild, track } from './processes.js';

/** dist/loadtest/bench/ → the folder of package.json. */
const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const HOST = '127.0.0.1';
const ANSWER_MS_MAX = 10_000;

export interface RedisServer {
  readonly url: string;
  readonly port: number;
  readonly version: string;
  readonly pid: number;
  stop(): Promise<void>;
}

/**
 * The run's own Redis, on a free loopback port, with an append-only file as `npm start` has it. Only the rewriting
 * of that file is off: it would fork in the middle of one round and not of another.
 */
export async function startRedis(): Promise<RedisServer> {
  const port = await freePort();
  const folder = mkdtempSync(join(tmpdir(), 'weir-bench-'));
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
  const program = await obtainRedis(ROOT, new ProcessGroups(), say);
  const child = spawnGuarded(
    program,
    [
      ...['--port', String(port), '--bind', HOST, '--dir', './', '--save', '', '--loglevel', 'warning'],
      ...['--appendonly', 'yes', '--appendfsync', 'everysec', '--auto-aof-rewrite-percentage', '0'],
      ...['--maxmemory-policy', 'noeviction', '--logfile', './redis.log'],
    ],
    { cwd: folder, stopSignals: ['SIGTERM'] },
  );
  // The group: the guard beside Redis, which ends it after a kill -9 of this process, ends with it.
  track(child, (signal) => process.kill(-child.pid!, signal));
  const missing = new Promise<never>((_, reject) => {
    child.once('exit', () => reject(new Error('redis-server does not start')));
  });
  // It also exits when we stop it.
  missing.catch(() => undefined);
  const url = `redis://${HOST}:${port}`;
  const version = await Promise.race([missing, whenAnswering(url)]);
  return { url, port, version, pid: child.pid!, stop: () => stopChild(child, 'SIGKILL') };
}

/** @returns its version */
async function whenAnswering(url: string): Promise<string> {
  const deadline = performance.now() + ANSWER_MS_MAX;
  const redis = new Redis(url, { retryStrategy: () => 50, maxRetriesPerRequest: null });
  redis.on('error', () => undefined);
  try {
    const info = await Promise.race([redis.info('server'), sleep(deadline - performance.now())]);
    if (info === undefined) throw new Error(`redis-server does not answer within ${ANSWER_MS_MAX} ms`);
    return /redis_version:(\S+)/.exec(info)?.[1] ?? 'unknown';
  } finally {
    redis.disconnect();
  }
}

/**
 * Empties Redis, and its append-only file with it: that would otherwise grow by what every round writes.
 */
export async function emptyRedis(redis: Redis): Promise<void> {
  await redis.flushall();
  await redis.bgrewriteaof();
  const deadline = performance.now() + ANSWER_MS_MAX;
  while (/aof_rewrite_(in_progress|scheduled):1/.test(await redis.info('persistence'))) {
    if (performance.now() > deadline) throw new Error('redis-server does not rewrite its append-only file');
    await sleep(10);
  }
}

export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, HOST, resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}
