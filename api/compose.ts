import type { Rule } from '../rules/restrictions/rule.js';
import { Appender } from '../shared/append/appender.js';
import { budgetSettings } from '../shared/budget-settings.js';
import type { Config } from '../shared/config.js';
import { installationOf } from '../shared/installation.js';
import { Keys } from '../shared/keys.js';
import type { Lifecycle } from '../shared/lifecycle.js';
import { apiAddress, listenError } from '../shared/listen-error.js';
import type { Logger } from '../shared/logging.js';
import { keptMs } from '../shared/messages/admissions.js';
import { createRegistry } from '../shared/metrics.js';
import { ReconciliationMetrics } from '../shared/reconciliation/reconciliation-metrics.js';
import { connectRedis } from '../shared/redis/connect.js';
import type { SetupError } from '../shared/setup-error.js';
import { tripwireLimits } from '../shared/tripwire/tripwire-limits.js';
import { watchTripwires } from '../shared/tripwire/tripwire-metrics.js';
import { windowSettings } from '../shared/window-settings.js';
import { AdmissionMetrics } from './admissions/admission-metrics.js';
import { admissionResources } from './admissions/admission-resources.js';
import { FailOpen } from './admissions/fail-open.js';
import { BacklogSampler } from './backlog-sampler.js';
import { budgetResources } from './budgets/budget-resources.js';
import { createDatabase } from './database.js';
import { deadLetterResources } from './dead-letters/dead-letter-resources.js';
import { eventResources } from './events/event-resources.js';
import { BodyReader } from './http/body.js';
import { createFastExpress } from './http/fast-express.js';
import { HostGuard } from './http/host-guard.js';
import { InFlight } from './http/in-flight.js';
import { addRoutes } from './http/routes.js';
import { HttpServer } from './http/server.js';
import { ApiMetrics } from './metrics.js';
import { MemoryMetrics } from './operations/memory-metrics.js';
import { operationResources } from './operations/operation-resources.js';
import { ReplyWaiter } from './replies.js';
import { decisionResources } from './restrictions/decisions.js';
import { userResources } from './restrictions/user-resources.js';
import { LateRollbacks } from './rules/late-rollbacks.js';
import { ruleResources } from './rules/rule-resources.js';
import { Slots } from './slots.js';
import { StoreGate } from './store-gate.js';
import { usageQueryResources } from './usage/queries/query-resources.js';
import { usageResources } from './usage/usage-resources.js';

const REDIS_URL_DEFAULT = 'redis://127.0.0.1:6379';

export interface Api {
  /** `http://127.0.0.1:8080`, with the real port. */
  readonly url: string;
  /** Goes on serving for this long while `/ready` says that it stops. */
  readonly drain: (delayMs: number) => Promise<void>;
}

export interface ApiOptions {
  readonly config: Config;
  readonly lifecycle: Lifecycle;
  readonly log: Logger;
  /** The rules that can be shown and changed; tests bring their own. */
  readonly rules: readonly Rule[];
  /** Called when the data was written with another number of partitions, or the Redis user lacks a right: the process must end. */
  readonly onMismatch: (error: SetupError) => void;
}

/**
 * Builds the API process and starts to listen; the only place of `api/` that constructs resources. Each registers
 * its release as it is made. Starts without Redis too, and answers 503 until it comes.
 * @throws when it cannot listen
 */
export async function composeApi({ config, lifecycle, log, rules, onMismatch }: ApiOptions): Promise<Api> {
  const url = config.redisUrl ?? REDIS_URL_DEFAULT;
  const commandTimeoutMs = config.REDIS_COMMAND_TIMEOUT_MS;
  const connection = { url, log, lifecycle, commandTimeoutMs };
  const redis = connectRedis({ ...connection, name: 'api', autoPipelining: true });
  const subscriber = connectRedis({ ...connection, name: 'api-replies' });
  // What usage queries read is long: on the connection that appends, events would wait behind it.
  const queries = connectRedis({ ...connection, name: 'api-queries', autoPipelining: true });
  const keys = new Keys(config.WEIR_NAMESPACE);
  const slots = new Slots(keys, config.PARTITIONS);
  const metrics = new ApiMetrics(createRegistry());

  const gate = new StoreGate({ redis, keys, installation: installationOf(config), log, onMismatch });
  gate.start();
  lifecycle.onClose('store gate', () => gate.stop());
  const workerTtlMs = config.LEASE_TTL_MS;
  const sampler = new BacklogSampler({ redis, keys, partitions: config.PARTITIONS, workerTtlMs });
  sampler.start();
  lifecycle.onClose('backlog sampler', () => sampler.stop());
  metrics.watch(sampler, config.PARTITIONS);
  new ReconciliationMetrics(metrics.registry, redis, keys);
  watchTripwires(metrics.registry, redis, keys, rules);
  new MemoryMetrics(metrics.registry, redis);
  const replies = new ReplyWaiter({ redis, subscriber, keys, deadlineMs: config.REPLY_DEADLINE_MS });
  replies.start();
  lifecycle.onClose('reply waiter', () => replies.stop());
  const appenderWith = (backlogMax: number): Appender =>
    new Appender({
      redis,
      bounds: { backlogMax, archiveBytesMax: config.ARCHIVE_BACKLOG_BYTES_MAX },
      onBatch: (messages) => metrics.observeBatch(messages),
      onDefect: (error) => log.error({ err: error }, 'append failed'),
    });
  const appender = appenderWith(config.BACKLOG_MAX);

  const database = createDatabase(config, log, lifecycle);

  const admissionsKeptMs = keptMs(budgetSettings(config));
  const admissionMetrics = new AdmissionMetrics(metrics.registry);
  const failOpen = new FailOpen({
    ...{ redis, gate, metrics: admissionMetrics, keptMs: admissionsKeptMs, log },
    // What was admitted undecided is recorded also where requests have filled the backlog.
    appender: appenderWith(config.BACKLOG_MAX * 2),
    windowMs: config.BUDGET_WINDOW_SECONDS * 1000,
    tokensMax: config.FAIL_OPEN_TOKENS_MAX,
    dedupeMs: config.ADMISSION_DEDUPE_SECONDS * 1000,
    reportsMax: config.FAIL_OPEN_REPORTS_MAX,
    recordDeadlineMs: config.ADMISSION_DEADLINE_MS,
    holdMs: (config.HOLD_SECONDS === 0 ? config.BUDGET_WINDOW_SECONDS : config.HOLD_SECONDS) * 1000,
  });
  failOpen.start();
  lifecycle.onClose('fail open reports', () => failOpen.stop());

  const inFlight = new InFlight(config.IN_FLIGHT_MAX);
  metrics.watchInFlight(() => inFlight.workedOn);
  const bodies = new BodyReader(
    {
      bytesMax: config.BODY_BYTES_MAX,
      unfinishedMax: config.UNFINISHED_BODIES_MAX,
      unfinishedBytesMax: config.UNFINISHED_BODIES_BYTES_MAX,
    },
    inFlight,
  );
  const shared = { redis, keys, slots, gate, bodies, appender, sampler, replies };
  const lateRollbacks = new LateRollbacks(redis, keys, slots, log);
  const express = createFastExpress();
  const server = new HttpServer({
    ...{ express, metrics, inFlight, log },
    guard: new HostGuard({
      allowedHosts: config.ALLOWED_HOSTS?.split(/, ?/) ?? [],
      publicUrl: config.PUBLIC_URL,
    }),
    slowRequestMs: config.SLOW_REQUEST_MS,
    shutdownTimeoutMs: config.SHUTDOWN_TIMEOUT_MS,
  });
  // In the order of how busy they are: Express tries one after the other.
  const resources = [
    ...usageResources({ ...shared, retentionDays: config.EVENTS_RETENTION_DAYS }),
    ...eventResources(shared),
    ...admissionResources({
      ...{ ...shared, failOpen, metrics: admissionMetrics, failMode: config.FAIL_MODE },
      ...{ deadlineMs: config.ADMISSION_DEADLINE_MS, keptMs: admissionsKeptMs },
      evaluateDedupeMs: config.EVALUATE_DEDUPE_MS,
    }),
    ...decisionResources(shared),
    ...userResources(shared),
    ...budgetResources({
      ...{ ...shared, database: database.tenants },
      windowMs: config.BUDGET_WINDOW_SECONDS * 1000,
    }),
    ...usageQueryResources({
      ...{ redis: queries, keys, gate, database: database.tenants, partitions: config.PARTITIONS },
      ...windowSettings(config),
    }),
    ...ruleResources({ ...shared, rules, limits: tripwireLimits(config), lateRollbacks, log }),
    ...operationResources({
      ...{ ...shared, database, registry: metrics.registry, workerTtlMs },
      isStopping: () => server.isStopping,
    }),
    ...deadLetterResources(shared),
  ];
  addRoutes(express.app, resources, metrics, log);
  const { HOST: host, PORT: port } = config;
  const listening = await server.listen(port, host).catch(({ code = '' }: NodeJS.ErrnoException) => {
    throw listenError(code, apiAddress(host, port));
  });
  lifecycle.onClose('http server', () => server.close());
  return { url: listening, drain: (delayMs) => server.drain(delayMs) };
}
