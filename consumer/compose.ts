import { nanoid } from 'nanoid';
import type { Rule } from '../rules/restrictions/rule.js';
import type { Config } from '../shared/config.js';
import { claimInstallation, evictionDefect, installationOf } from '../shared/installation.js';
import { Keys } from '../shared/keys.js';
import type { Lifecycle } from '../shared/lifecycle.js';
import { DistributedLock } from '../shared/lock/distributed-lock.js';
import { LockMetrics } from '../shared/lock/lock-metrics.js';
import type { Logger } from '../shared/logging.js';
import { createRegistry } from '../shared/metrics.js';
import { connectRedis, whenReady as redisReady } from '../shared/redis/connect.js';
import { persistenceDefect } from '../shared/redis/persistence.js';
import { assertRights } from '../shared/redis/rights.js';
import { allPartitions, partitionName, type Topic } from '../shared/topics.js';
import { watchTripwires } from '../shared/tripwire/tripwire-metrics.js';
import { windowSettings } from '../shared/window-settings.js';
import { BudgetMemory } from './budget-memory.js';
import { type Database, openDatabase, whenReady } from './database.js';
import type { Archive } from './engine/archive.js';
import { Complaints } from './engine/complaints.js';
import type { Engine } from './engine/engine.js';
import type { Memory } from './engine/memory.js';
import type { Sink } from './engine/outbox-drain.js';
import { ProcessProbe } from './engine/probe.js';
import { retryWhileAway } from './engine/retry.js';
import { startWatchdog } from './engine/watchdog.js';
import { Worker } from './engine/worker.js';
import { startMaintenance } from './maintenance/start-maintenance.js';
import { ConsumerMetrics } from './metrics.js';
import { startOpsServer } from './ops-server.js';
import { AuditLogSink } from './sinks/audit-log.js';
import { BudgetHistory } from './sinks/budget-history.js';
import { BudgetLogSink } from './sinks/budget-log.js';
import { PostgresArchive } from './sinks/postgres-archive.js';
import { RestrictionHistory } from './sinks/restriction-history.js';
import { createProcessors } from './topics/processors.js';
import { Tripwire } from './tripwire/tripwire.js';

const DEFAULT_REDIS_URL = 'redis://127.0.0.1:6379';
/** How long a worker waits for Redis before it says so and goes on waiting. */
const READY_MS = 2000;

export interface ConsumerOptions {
  readonly config: Config;
  readonly lifecycle: Lifecycle;
  readonly log: Logger;
  /** The rules to run; tests bring their own. */
  readonly rules: readonly Rule[];
  /** Module that folds suspicious messages in a process of its own; it must know the same rules. */
  readonly probeModule: string;
  /** Where outboxes go; absent: restriction changes into Postgres, or into the log where there is none. */
  readonly sinks?: readonly Sink[] | undefined;
  /** What keeps usage; absent: Postgres, where there is one. */
  readonly archive?: Archive | undefined;
}

export interface Consumer {
  readonly worker: Worker;
  readonly workerId: string;
  /** Where this worker's /health and /metrics are. */
  readonly opsUrl: string;
}

/** Builds a worker process; the only place of `consumer/` that constructs resources. Each registers its release. */
export async function composeConsumer(options: ConsumerOptions): Promise<Consumer> {
  const { config, lifecycle, log, rules, probeModule } = options;
  const keys = new Keys(config.WEIR_NAMESPACE);
  const url = config.redisUrl ?? DEFAULT_REDIS_URL;
  const connect = (name: string) => connectRedis({ url, name, log, lifecycle });
  const redis = connectRedis({
    url,
    name: 'worker',
    log,
    lifecycle,
    commandTimeoutMs: Math.max(config.REDIS_COMMAND_TIMEOUT_MS, 1000),
  });
  const subscriber = connect('worker-subscriber');
  const partitions = allPartitions(config.PARTITIONS).map(partitionName);
  const metrics = new ConsumerMetrics(createRegistry(), rules, partitions);
  watchTripwires(metrics.registry, redis, keys, rules);
  const ops = await startOpsServer(metrics.registry, config.OPS_HOST, config.OPS_PORT);
  lifecycle.onClose('ops server', ops.close);
  lifecycle.onClose('watchdog', startWatchdog(config.STALL_MS_MAX));
  const probe = new ProcessProbe(probeModule, config.STALL_MS_MAX);
  lifecycle.onClose('probe', () => probe.close());

  await waitForRedis();
  await assertRights(redis, keys, (line) => log.warn(line));
  await claimInstallation(redis, keys, installationOf(config));
  for (const defect of [await evictionDefect(redis), await persistenceDefect(redis)]) {
    if (defect !== undefined) log.warn(defect);
  }

  const workerId = `w-${nanoid(10)}`;
  const engine: Engine = {
    workerId,
    redis,
    keys,
    settings: {
      leaseTtlMs: config.LEASE_TTL_MS,
      heartbeatMs: config.HEARTBEAT_MS,
      batchMessagesMax: config.BATCH_MESSAGES_MAX,
      stateCacheMax: config.STATE_CACHE_MAX,
      dedupeWindowMs: config.DEDUPE_WINDOW_SECONDS * 1000,
      dedupeIdsMax: config.DEDUPE_IDS_MAX,
      replyTtlMs: config.REPLY_TTL_SECONDS * 1000,
      deadLettersMax: config.DEAD_LETTERS_MAX,
      outboxMax: config.OUTBOX_MAX,
      outboxBytesMax: config.OUTBOX_BYTES_MAX,
      archiveDelayMs: config.ARCHIVE_DELAY_MS,
      archiveBatchMax: config.ARCHIVE_BATCH_EVENTS_MAX,
    },
    log,
    metrics,
    complaints: new Complaints(log),
    connectBlocking: (name) => connectRedis({ url, name, log }),
    probe,
  };
  const databaseUrl = config.DATABASE_URL;
  const lock = new DistributedLock({
    ...{ redis, keys, owner: workerId },
    // Without Postgres nothing is locked.
    ...(databaseUrl === undefined ? {} : { metrics: new LockMetrics(metrics.registry) }),
  });
  const database =
    databaseUrl === undefined
      ? undefined
      : openDatabase({
          ...{ url: databaseUrl, poolMax: config.DATABASE_POOL_MAX, lock, log, lifecycle },
          namespace: config.WEIR_NAMESPACE,
          partitions: config.PARTITIONS,
        });
  if (database === undefined) {
    log.warn(
      'no DATABASE_URL: usage is kept in Redis, up to ARCHIVE_BACKLOG_BYTES_MAX per partition; the ledger of budgets is not kept',
    );
  }
  const archive = options.archive ?? (database === undefined ? undefined : archiveIn(database));
  const worker = new Worker({
    engine,
    processors: createProcessors({
      config,
      tripwire: new Tripwire(redis, keys, config.PARTITIONS),
      log,
      rules,
      onTrip: (rule) => metrics.tripped(rule),
    }),
    sinks: options.sinks ?? (database === undefined ? logSinks(log) : sinksInto(database)),
    archive,
    memories: memoriesOf(archive, database),
    partitionsPerTopic: config.PARTITIONS,
    subscriber,
  });
  if (database !== undefined) {
    startMaintenance({ redis, keys, database, lock, log, metrics, config, lifecycle });
  }
  // Last, so that it is first to be closed: whatever else takes its time, others get the partitions at once.
  lifecycle.onClose('worker', () => worker.close());
  return { worker, workerId, opsUrl: ops.url };

  function sinksInto(open: Database): Sink[] {
    return [
      onceReady(open, new RestrictionHistory(open.pool, log)),
      onceReady(open, new BudgetHistory(open.pool, log)),
    ];
  }

  function memoriesOf(kept: Archive | undefined, open: Database | undefined): Map<Topic, Memory> {
    const memories = new Map<Topic, Memory>();
    if (kept !== undefined) {
      const recall: Memory['recall'] = async (partition) =>
        (await kept.remembers(partition)) ? { what: true, isLoss: true } : undefined;
      memories.set('usage', { recall });
    }
    if (open !== undefined) {
      const budgets = new BudgetMemory(open.pool, config.PARTITIONS, log);
      const recall: Memory['recall'] = async (partition) => {
        // Whoever asks gives up in time.
        await open.ready;
        return budgets.recall(partition);
      };
      memories.set('admissions', { recall });
    }
    return memories;
  }

  function archiveIn(open: Database): Archive {
    const settings = windowSettings(config);
    const archive = new PostgresArchive({ pool: open.pool, settings, log, metrics: metrics.archive });
    return {
      write: async (batch) => {
        await whenReady(open);
        return archive.write(batch);
      },
      remembers: async (partition) => {
        await open.ready;
        return archive.remembers(partition);
      },
    };
  }

  async function waitForRedis(): Promise<void> {
    let closed = false;
    lifecycle.onClose('wait for redis', () => {
      closed = true;
    });
    await redisReady(redis, READY_MS).catch(() => log.warn('waiting for Redis'));
    await retryWhileAway(
      () => redis.ping(),
      () => !closed,
    );
  }
}

function logSinks(log: Logger): Sink[] {
  return [
    new AuditLogSink(log.child({ sink: 'audit-log' })),
    new BudgetLogSink(log.child({ sink: 'budget-log' })),
  ];
}

/** The sink, failing (to be called again) while the schema is not ready. */
function onceReady(open: Database, sink: Sink): Sink {
  const { name, topic, delayed = false } = sink;
  const write: Sink['write'] = async (partition, entries) => {
    await whenReady(open);
    await sink.write(partition, entries);
  };
  return { name, topic, delayed, knows: (entry) => sink.knows(entry), write };
}
