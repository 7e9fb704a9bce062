import type { Redis } from 'ioredis';
import type { Keys } from '../../shared/keys.js';
import { evicts, isFull, readMemory, type StoreMemory } from '../../shared/redis/memory.js';
import { WAITS_FOR, type WaitsFor } from '../../shared/waits-for.js';
import { countLiveWorkers } from '../backlog-sampler.js';
import type { Slot, Slots } from '../slots.js';
import type { StoreGate } from '../store-gate.js';
import type { PostgresState } from './postgres-check.js';

export interface ReadinessDependencies {
  readonly redis: Redis;
  readonly keys: Keys;
  readonly slots: Slots;
  readonly gate: StoreGate;
  readonly database: { readonly state: () => Promise<PostgresState> };
  /** A worker whose heartbeat is older than this counts as gone, in ms. */
  readonly workerTtlMs: number;
}

/** How much of the system is up. */
interface Checks {
  readonly redis: 'ok' | 'down';
  readonly postgres: PostgresState;
  readonly workers: 'ok' | 'unknown' | 'none' | 'partitions_unowned';
}

/** What is not as it should be. Some of it leaves weir ready: reads are served. */
interface Warning {
  readonly code: 'partition_waits' | 'partition_unowned' | 'partition_dirty' | 'store_full' | 'store_evicts';
  readonly detail: string;
  readonly partition?: string;
}

export interface Readiness {
  readonly status: 'ready' | 'not_ready';
  readonly checks: Checks;
  /** Left out where there is nothing to say. */
  readonly warnings?: readonly Warning[];
  /** Of Redis; left out where it has no bound, or does not say. */
  readonly memory?: { readonly used_bytes: number; readonly max_bytes: number };
}

interface Store {
  readonly redis: Checks['redis'];
  readonly workers: Checks['workers'];
  readonly warnings: readonly Warning[];
  readonly memory: StoreMemory | undefined;
}

const DOWN: Store = { redis: 'down', workers: 'unknown', warnings: [], memory: undefined };

export async function readiness(dependencies: ReadinessDependencies): Promise<Readiness> {
  const [store, postgres] = await Promise.all([
    look(dependencies).catch(() => DOWN),
    dependencies.database.state(),
  ]);
  const { redis, workers, warnings, memory } = store;
  const isReady = redis === 'ok' && workers === 'ok' && (postgres === 'ok' || postgres === 'not_configured');
  return {
    status: isReady ? 'ready' : 'not_ready',
    checks: { redis, postgres, workers },
    ...(warnings.length === 0 ? {} : { warnings }),
    ...(memory === undefined || memory.maxBytes === 0
      ? {}
      : { memory: { used_bytes: memory.usedBytes, max_bytes: memory.maxBytes } }),
  };
}

async function look({ redis, keys, slots, gate, workerTtlMs }: ReadinessDependencies): Promise<Store> {
  await redis.ping();
  if (!gate.isOpen) await gate.check();
  const [live, partitions, memory] = await Promise.all([
    countLiveWorkers(redis, keys, workerTtlMs),
    Promise.all(slots.all.map((slot) => lookAt(redis, slot))),
    // A user without INFO is told so when the process starts.
    readMemory(redis).catch(() => undefined),
  ]);
  const areOwned = partitions.every(({ isOwned }) => isOwned);
  const workers = live === 0 ? 'none' : areOwned ? 'ok' : 'partitions_unowned';
  const warnings = [
    // Without workers no partition has an owner: that is said already.
    ...partitions.flatMap((partition) =>
      partition.warnings.filter(({ code }) => live > 0 || code !== 'partition_unowned'),
    ),
    ...memoryWarnings(memory),
  ];
  return { redis: gate.isOpen ? 'ok' : 'down', workers, warnings, memory };
}

async function lookAt(
  redis: Redis,
  { keys, name: partition }: Slot,
): Promise<{ readonly isOwned: boolean; readonly warnings: readonly Warning[] }> {
  const [lease, [dirty, waits]] = await Promise.all([
    redis.exists(keys.lease),
    redis.hmget(keys.head, 'dirty', 'waits') as Promise<[string | null, string | null]>,
  ]);
  const warnings: Warning[] = [];
  if (dirty === '1') {
    const detail = `a commit failed half-way: npm run repair -- ${partition}`;
    warnings.push({ code: 'partition_dirty', partition, detail });
  }
  if (lease === 0) warnings.push({ code: 'partition_unowned', partition, detail: 'no worker has it' });
  else if (waits !== null && waits !== '') {
    // A newer worker may have reasons that this process does not know.
    warnings.push({ code: 'partition_waits', partition, detail: WAITS_FOR[waits as WaitsFor] ?? waits });
  }
  return { isOwned: lease === 1, warnings };
}

function memoryWarnings(memory: StoreMemory | undefined): readonly Warning[] {
  if (memory === undefined) return [];
  const warnings: Warning[] = [];
  if (isFull(memory)) {
    const detail = `Redis is at its maxmemory of ${memory.maxBytes} bytes: what is appended is refused`;
    warnings.push({ code: 'store_full', detail });
  }
  if (evicts(memory)) {
    const detail = `Redis has maxmemory-policy ${memory.policy}: when memory runs out it deletes decisions`;
    warnings.push({ code: 'store_evicts', detail });
  }
  return warnings;
}
