import { fileURLToPath } from 'node:url';
import { composeConsumer } from '../../consumer/compose.js';
import { commitScript } from '../../consumer/engine/commit.js';
import { Lifecycle, runUntilStopped } from '../../shared/lifecycle.js';
import { loadConfig } from '../../shared/load-config.js';
import { createLogger } from '../../shared/logging.js';
import { cutGuard, type Guard } from './cut-guard.js';
import { DANGEROUS_RULES } from './dangerous-rule.js';

/** The worker's main with rules that have bugs, and, where a test asks for it, without one of the commit's guards. */
const config = loadConfig();
const log = createLogger('worker', config.LOG_LEVEL);
const lifecycle = new Lifecycle(log);
const guard = process.env['TEST_CUT_GUARD'];
if (guard !== undefined) cutGuard(commitScript, guard as Guard);

runUntilStopped(
  lifecycle,
  async () => {
    const { worker } = await composeConsumer({
      config,
      lifecycle,
      log,
      rules: DANGEROUS_RULES,
      probeModule: fileURLToPath(new URL('./dangerous-probe.js', import.meta.url)),
    });
    await worker.start();
    process.send?.({ type: 'listening' });
  },
  { log, shutdownTimeoutMs: config.SHUTDOWN_TIMEOUT_MS, followParent: true },
);
