import { fileURLToPath } from 'node:url';
import { RULES } from '../rules/restrictions/registry.js';
import { Lifecycle, runUntilStopped } from '../shared/lifecycle.js';
import { createLogger } from '../shared/logging.js';
import { readConfig } from '../shared/read-config.js';
import { warnAtStart } from '../shared/start-warnings.js';
import { composeConsumer } from './compose.js';

/** One worker process: joins the fleet, owns its share of the partitions, leaves cleanly. */
const config = readConfig();
const log = createLogger('worker', config.LOG_LEVEL);
const lifecycle = new Lifecycle(log);

runUntilStopped(
  lifecycle,
  async () => {
    warnAtStart(log);
    const { worker, workerId, opsUrl } = await composeConsumer({
      config,
      lifecycle,
      log,
      rules: RULES,
      probeModule: fileURLToPath(new URL('./probe-main.js', import.meta.url)),
    });
    await worker.start();
    log.info({ worker: workerId, url: opsUrl }, 'working');
    process.send?.({ type: 'listening', url: opsUrl });
  },
  { log, shutdownTimeoutMs: config.SHUTDOWN_TIMEOUT_MS, followParent: true },
);
