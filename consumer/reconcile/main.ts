import { parseArgs } from 'node:util';
import type { Redis } from 'ioredis';
import type pg from 'pg';
import type { Config } from '../../shared/config.js';
import { recordedPartitions } from '../../shared/installation.js';
import { Keys } from '../../shared/keys.js';
import { readStores } from '../../shared/launcher/stores-file.js';
import { Lifecycle } from '../../shared/lifecycle.js';
import { loadConfig } from '../../shared/load-config.js';
import { createLogger } from '../../shared/logging.js';
import { connectPostgres } from '../../shared/postgres/connect.js';
import { sinkUrl } from '../../shared/postgres/database-url.js';
import { assertOurs } from '../../shared/postgres/other-owner.js';
import type { BudgetReconciliation } from '../../shared/reconciliation/budget-reconciliation.js';
import type { Reconciliation } from '../../shared/reconciliation/reconciliation.js';
import { connectRedis, whenReady } from '../../shared/redis/connect.js';
import { warnOnStderr } from '../../shared/start-warnings.js';
import { windowSettings } from '../../shared/window-settings.js';
import { budgetsAsText } from './budgets/budget-report.js';
import { reconcileAllBudgets } from './budgets/full-budgets.js';
import { HotBudgetReader } from './budgets/hot-budgets.js';
import { SinkProgress } from './budgets/sink-progress.js';
import { type CountedAgain, findCountedAgain } from './counted-again.js';
import { reconcileAll } from './full-run.js';
import { asText, countedAgainText } from './report.js';

const USAGE = `npm run reconcile -- [options]
  --since T   only windows that begin at or after T (ISO 8601); default: all whose raw events, or ledger, are kept
  --json      print the result as JSON

Compares the windows of usage in Redis and in Postgres with the raw events, and those of budgets with the ledger, and
finds events that counted again because their id came back after DEDUPE_WINDOW_SECONDS (which is no drift), of REDIS_URL and DATABASE_URL or of the running \`npm start\`. Exit code 0: all agree, 1: some do not, 2: they could not be compared.
`;
const READY_MS = 5000;
const COMMAND_MS_MAX = 10_000;
const STATEMENT_MS_MAX = 600_000;
/** Beside the archive's own delay. */
const PATIENCE_MS = 8000;

const log = createLogger('reconcile', 'silent');
const lifecycle = new Lifecycle(log);
const stop = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => stop.abort(new Error(signal)));
}

run().then(finish, notCompared);

async function run(): Promise<number> {
  const { sinceMs, json } = readArguments();
  const stores = await connect();
  await refuseOther(stores);
  const usage = await timed(() => compareUsage(stores, sinceMs));
  const countedAgain = await findAgain(stores, sinceMs);
  const budgets = await timed(() => compareBudgets(stores, sinceMs));
  const text = json
    ? JSON.stringify({ ...usage.result, countedAgain, budgets: budgets.result }, undefined, 2)
    : [
        asText(usage.result, usage.seconds),
        countedAgainText(countedAgain),
        budgetsAsText(budgets.result, budgets.seconds),
      ].join('\n');
  process.stdout.write(`${text}\n`);
  return usage.result.drifted + budgets.result.drifted === 0 ? 0 : 1;
}

function notCompared(error: unknown): Promise<never> {
  process.stderr.write(`not compared: ${error instanceof Error ? error.message : String(error)}\n`);
  return finish(2);
}

async function timed<T>(work: () => Promise<T>): Promise<{ readonly result: T; readonly seconds: number }> {
  const begunAt = performance.now();
  const result = await work();
  return { result, seconds: (performance.now() - begunAt) / 1000 };
}

function readArguments(): { readonly sinceMs: number; readonly json: boolean } {
  try {
    const { values } = parseArgs({
      options: { since: { type: 'string' }, json: { type: 'boolean', default: false } },
    });
    const sinceMs = values.since === undefined ? 0 : Date.parse(values.since);
    if (Number.isNaN(sinceMs)) throw new Error(`--since ${values.since} is no time`);
    return { sinceMs, json: values.json };
  } catch (error) {
    throw new Error(`${(error as Error).message}\n\n${USAGE}`);
  }
}

interface Stores {
  readonly config: Config;
  readonly redis: Redis;
  readonly pool: pg.Pool;
  readonly keys: Keys;
}

async function connect(): Promise<Stores> {
  const config = loadConfig();
  warnOnStderr();
  const { redisUrl, databaseUrl } = await storesOf(config);
  const redis = connectRedis({
    url: redisUrl,
    name: 'reconcile',
    log,
    lifecycle,
    commandTimeoutMs: COMMAND_MS_MAX,
    onRefused: notCompared,
  });
  const pool = connectPostgres({ url: sinkUrl(databaseUrl), name: 'reconcile', log, lifecycle, poolMax: 1 });
  await whenReady(redis, READY_MS);
  return { config, redis, pool, keys: new Keys(config.WEIR_NAMESPACE) };
}

/** Rows of another installation are not made of what is in this Redis. */
async function refuseOther({ config, redis, pool, keys }: Stores): Promise<void> {
  const partitions = (await recordedPartitions(redis, keys)) ?? config.PARTITIONS;
  await assertOurs(pool, { namespace: config.WEIR_NAMESPACE, partitions });
}

function compareUsage({ config, redis, pool, keys }: Stores, sinceMs: number): Promise<Reconciliation> {
  return reconcileAll({
    ...{ redis, pool, sinceMs, keys },
    times: windowSettings(config),
    statementMsMax: STATEMENT_MS_MAX,
    patienceMs: config.ARCHIVE_DELAY_MS + PATIENCE_MS,
    signal: stop.signal,
    onDifference: () => undefined,
  });
}

function findAgain({ pool }: Stores, sinceMs: number): Promise<CountedAgain> {
  return findCountedAgain({ pool, statementMsMax: STATEMENT_MS_MAX, signal: stop.signal }, sinceMs);
}

async function compareBudgets(
  { config, redis, pool, keys }: Stores,
  sinceMs: number,
): Promise<BudgetReconciliation> {
  const partitions = await recordedPartitions(redis, keys);
  const { signal } = stop;
  return reconcileAllBudgets({
    ...{ pool, sinceMs, signal, statementMsMax: STATEMENT_MS_MAX },
    hot: new HotBudgetReader(redis, keys, partitions ?? config.PARTITIONS),
    progress: new SinkProgress(redis, keys, config.ARCHIVE_DELAY_MS + PATIENCE_MS, signal),
    onDifference: () => undefined,
  });
}

async function storesOf(config: Config): Promise<{ redisUrl: string; databaseUrl: string }> {
  const { redisUrl = '', DATABASE_URL: databaseUrl = '' } = config;
  if (redisUrl !== '' && databaseUrl !== '') return { redisUrl, databaseUrl };
  const stores = await readStores(config.WEIR_DATA_DIR);
  if (stores === undefined) {
    throw new Error('set REDIS_URL and DATABASE_URL, or run `npm start` on the same WEIR_DATA_DIR');
  }
  return { redisUrl: redisUrl || stores.redisUrl, databaseUrl: databaseUrl || stores.databaseUrl };
}

async function finish(code: number): Promise<never> {
  await lifecycle.close();
  process.exit(code);
}
