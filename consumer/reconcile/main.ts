import { parseArgs } from 'node:util';
import { type Config, loadConfig } from '../../shared/config.js';
import { Keys } from '../../shared/keys.js';
import { readStores } from '../../shared/launcher/stores-file.js';
import { Lifecycle } from '../../shared/lifecycle.js';
import { createLogger } from '../../shared/logging.js';
import { connectPostgres } from '../../shared/postgres/connect.js';
import { sinkUrl } from '../../shared/postgres/database-url.js';
import type { Reconciliation } from '../../shared/reconciliation/reconciliation.js';
import { connectRedis, whenReady } from '../../shared/redis/connect.js';
import { windowSettings } from '../../shared/window-settings.js';
import { reconcileAll } from './full-run.js';
import { asText } from './report.js';

const USAGE = `npm run reconcile -- [options]
  --since T   only windows that begin at or after T (ISO 8601); default: all whose raw events are kept
  --json      print the result as JSON

Compares the windows in Redis and in Postgres with the raw events, of REDIS_URL and DATABASE_URL or of the running
\`npm start\`. Exit code 0: all agree, 1: some do not, 2: they could not be compared.
`;
const READY_MS = 5000;
const COMMAND_MS_MAX = 10_000;
const STATEMENT_MS_MAX = 600_000;
/** Beside the archive's own delay. */
const PATIENCE_MS = 5000;

const log = createLogger('reconcile', 'silent');
const lifecycle = new Lifecycle(log);
const stop = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => stop.abort(new Error(signal)));
}

run().then(finish, (error: unknown) => {
  process.stderr.write(`not compared: ${error instanceof Error ? error.message : String(error)}\n`);
  return finish(2);
});

async function run(): Promise<number> {
  const { sinceMs, json } = readArguments();
  const begunAt = performance.now();
  const result = await compare(sinceMs);
  const seconds = (performance.now() - begunAt) / 1000;
  process.stdout.write(`${json ? JSON.stringify(result, undefined, 2) : asText(result, seconds)}\n`);
  return result.drifted === 0 ? 0 : 1;
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

async function compare(sinceMs: number): Promise<Reconciliation> {
  const config = loadConfig();
  const { redisUrl, databaseUrl } = await storesOf(config);
  const redis = connectRedis({
    url: redisUrl,
    name: 'reconcile',
    log,
    lifecycle,
    commandTimeoutMs: COMMAND_MS_MAX,
  });
  const pool = connectPostgres({ url: sinkUrl(databaseUrl), name: 'reconcile', log, lifecycle, poolMax: 1 });
  await whenReady(redis, READY_MS);
  return reconcileAll({
    ...{ redis, pool, sinceMs, keys: new Keys(config.WEIR_NAMESPACE) },
    times: windowSettings(config),
    statementMsMax: STATEMENT_MS_MAX,
    patienceMs: config.ARCHIVE_DELAY_MS + PATIENCE_MS,
    signal: stop.signal,
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
