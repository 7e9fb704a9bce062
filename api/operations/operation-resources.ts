import type { Request, Response } from 'express';
import type { Redis } from 'ioredis';
import type { Registry } from 'prom-client';
import type { Keys } from '../../shared/keys.js';
import { VERSION } from '../../shared/version.js';
import { countLiveWorkers } from '../backlog-sampler.js';
import { sendJson, sendText } from '../http/respond.js';
import type { Resource } from '../http/routes.js';
import type { Slots } from '../slots.js';
import type { StoreGate } from '../store-gate.js';
import type { PostgresState } from './postgres-check.js';

export interface OperationDependencies {
  readonly redis: Redis;
  readonly keys: Keys;
  readonly slots: Slots;
  readonly gate: StoreGate;
  readonly database: { readonly state: () => Promise<PostgresState> };
  readonly registry: Registry;
  /** A worker whose heartbeat is older than this counts as gone, in ms. */
  readonly workerTtlMs: number;
  /** The process has been asked to end. */
  readonly isStopping: () => boolean;
}

/** What a caller that knows no path is told. */
const WELCOME = {
  ...{ name: 'weir', version: VERSION, documentation: 'docs/http-api.md' },
  links: { health: '/health', ready: '/ready', metrics: '/metrics', rules: '/rules' },
};

/** How much of the system is up. */
interface Checks {
  readonly redis: 'ok' | 'down';
  readonly postgres: PostgresState;
  readonly workers: 'ok' | 'unknown' | 'none' | 'partitions_unowned';
}

export function operationResources(dependencies: OperationDependencies): Resource[] {
  return [
    { path: '/', methods: { get: (req, res) => sendJson(req, res, 200, WELCOME) } },
    {
      path: '/health',
      methods: { get: (req, res) => sendJson(req, res, 200, { status: 'ok', version: VERSION }) },
    },
    { path: '/ready', methods: { get: (req, res) => getReady(dependencies, req, res) } },
    { path: '/metrics', methods: { get: (req, res) => getMetrics(dependencies, req, res) } },
  ];
}

async function getReady(dependencies: OperationDependencies, req: Request, res: Response): Promise<void> {
  const checks = await check(dependencies);
  const postgres = checks.postgres === 'ok' || checks.postgres === 'not_configured';
  const ready = checks.redis === 'ok' && checks.workers === 'ok' && postgres;
  const unready = ['Retry-After', '1'];
  if (dependencies.isStopping()) sendJson(req, res, 503, { status: 'stopping', checks }, unready);
  else if (ready) sendJson(req, res, 200, { status: 'ready', checks });
  else sendJson(req, res, 503, { status: 'not_ready', checks }, unready);
}

async function check(dependencies: OperationDependencies): Promise<Checks> {
  const [store, postgres] = await Promise.all([checkStore(dependencies), dependencies.database.state()]);
  return { redis: store.redis, postgres, workers: store.workers };
}

async function checkStore(dependencies: OperationDependencies): Promise<Omit<Checks, 'postgres'>> {
  const { redis, keys, slots, gate, workerTtlMs } = dependencies;
  try {
    await redis.ping();
    if (!gate.isOpen) await gate.check();
    const [live, owned] = await Promise.all([
      countLiveWorkers(redis, keys, workerTtlMs),
      Promise.all(slots.all.map((slot) => redis.exists(slot.keys.lease))),
    ]);
    const workers = live === 0 ? 'none' : owned.every((exists) => exists === 1) ? 'ok' : 'partitions_unowned';
    return { redis: gate.isOpen ? 'ok' : 'down', workers };
  } catch {
    return { redis: 'down', workers: 'unknown' };
  }
}

async function getMetrics({ registry }: OperationDependencies, req: Request, res: Response): Promise<void> {
  sendText(req, res, 200, registry.contentType, await registry.metrics());
}
