import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Config } from '../config.js';
import { Lifecycle } from '../lifecycle.js';
import { apiAddress, type ListenAddress, opsAddress } from '../listen-error.js';
import { createLogger } from '../logging.js';
import { readConfig } from '../read-config.js';
import { startWarnings } from '../start-warnings.js';
import { startApi } from './api-process.js';
import { lockDataDir } from './data-dir-lock.js';
import { whenPortFree } from './ports.js';
import { postgresStore } from './postgres-store.js';
import { ProcessGroups } from './process-groups.js';
import { reportReadiness } from './readiness.js';
import { redisStore } from './redis-store.js';
import { type Say, say, sayError } from './say.js';
import { StopRequest } from './stop-request.js';
import type { Store } from './store.js';
import { removeStores, writeStores } from './stores-file.js';
import { startWorkers } from './worker-processes.js';

/** The programs that are run, relative to the root of the repository. */
export interface Entries {
  readonly api: string;
  readonly worker: string;
}

/** After `kill -9` of a launcher its processes end by themselves; so long the next one waits for them. */
const leftoverMsMax = 15_000;

/** dist/shared/launcher/ → the folder of package.json. */
const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..', '..');

interface Launch {
  readonly config: Config;
  readonly entries: Entries;
  readonly lifecycle: Lifecycle;
  readonly groups: ProcessGroups;
  readonly stop: StopRequest;
  readonly say: Say;
}

/**
 * The whole life of `npm start`: read the configuration, bring everything up, wait for a reason to stop, take
 * everything down in the reverse order (API, workers, stores), exit. Exit code 0 after a clean stop, 1 after a
 * failure, 130 when a second Ctrl-C cut the stop short.
 */
export async function runLauncher(entries: Entries): Promise<never> {
  const config = readConfig(sayError);
  for (const line of startWarnings()) say('warning', line);
  const groups = new ProcessGroups();
  const stop = new StopRequest(say);
  stop.listen(() => groups.killAll());
  const lifecycle = new Lifecycle(createLogger('launcher', config.LOG_LEVEL));
  const up = bringUp({ config, entries, lifecycle, groups, stop, say }).catch((error: unknown) => {
    // What a stop interrupts fails because of the stop.
    if (!stop.signal.aborted) stop.fail(error);
  });
  const { reason, exitCode } = await stop.requested;
  if (exitCode === 0) say('stopping', reason);
  else sayError(reason);
  // Nothing may be started any more once releases run.
  await up;
  await lifecycle.close();
  say('stopped', 'nothing is left running');
  process.exit(exitCode);
}

async function bringUp({ config, entries, lifecycle, groups, stop, say }: Launch): Promise<void> {
  const { signal } = stop;
  const environment: Record<string, string> = { WEIR_DATA_DIR: config.WEIR_DATA_DIR };
  let waitMs = 0;
  const hasPrivateStores = config.redisUrl === undefined || config.DATABASE_URL === undefined;
  if (hasPrivateStores) {
    const lock = await lockDataDir(config.WEIR_DATA_DIR);
    lifecycle.onClose('data folder', () => lock.release());
    if (lock.leftBehind) waitMs = leftoverMsMax;
  }
  for (const address of listenAddresses(config)) await whenPortFree(address, { waitMs, signal });
  const redis = redisStore({ config, root, groups, say });
  const postgres = postgresStore({ config, groups, say });
  const [redisUrl, databaseUrl] = await startStores([redis, postgres], { lifecycle, signal, say });
  signal.throwIfAborted();
  // Each is told to the API and the workers by the variable it names.
  environment[redis.urlVariable] = redisUrl;
  environment[postgres.urlVariable] = databaseUrl;
  if (hasPrivateStores) {
    lifecycle.onClose('stores.json', () => removeStores(config.WEIR_DATA_DIR));
    await writeStores(config.WEIR_DATA_DIR, { redisUrl, databaseUrl });
  }
  const processes = { config, root, groups, say, stop, environment };
  const workers = startWorkers(processes, entries.worker);
  lifecycle.onClose('workers', () => workers.stop());
  const api = startApi(processes, entries.api);
  lifecycle.onClose('api', () => api.stop());
  await reportReadiness(await api.listening, { say, signal });
}

/** Of the API and of each worker. */
function listenAddresses({ HOST, PORT, OPS_HOST, OPS_PORT, WORKERS }: Config): readonly ListenAddress[] {
  const workers = Array.from({ length: OPS_PORT === 0 ? 0 : WORKERS }, (_, index) =>
    opsAddress(OPS_HOST, OPS_PORT + index),
  );
  return [apiAddress(HOST, PORT), ...workers];
}

/** Starts both side by side; resolves with their URLs. One that fails stops the other's start. */
async function startStores(
  [first, second]: readonly [Store, Store],
  { lifecycle, signal, say }: Pick<Launch, 'lifecycle' | 'say'> & { readonly signal: AbortSignal },
): Promise<readonly [string, string]> {
  const failed = new AbortController();
  const startSignal = AbortSignal.any([signal, failed.signal]);
  let failure: unknown;
  const start = async (store: Store): Promise<string> => {
    lifecycle.onClose(store.name, () => store.stop());
    try {
      const { url, description } = await store.start(startSignal);
      say(store.name, description);
      return url;
    } catch (error) {
      // The other one then fails because of this, and has to have done so before anything is released.
      failure ??= error;
      failed.abort();
      return '';
    }
  };
  const urls = await Promise.all([start(first), start(second)]);
  if (failure !== undefined) throw failure;
  return urls;
}
