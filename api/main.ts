import { isIP } from 'node:net';
import { RULES } from '../rules/restrictions/registry.js';
import { Lifecycle, runUntilStopped } from '../shared/lifecycle.js';
import { createLogger } from '../shared/logging.js';
import { readConfig } from '../shared/read-config.js';
import { warnAtStart } from '../shared/start-warnings.js';
import { type Api, composeApi } from './compose.js';

const config = readConfig();
const log = createLogger('api', config.LOG_LEVEL);
const lifecycle = new Lifecycle(log);
let api: Api | undefined;

async function start(): Promise<void> {
  warnAtStart(log);
  api = await composeApi({
    ...{ config, lifecycle, log, rules: RULES },
    // Ends the process with exit code 1: whatever it answered would be wrong.
    onMismatch: (error) => {
      throw error;
    },
  });
  const { url } = api;
  log.info({ url }, `listening on ${url}${isLoopback(config.HOST) ? LOOPBACK_NOTE : ''}`);
  process.send?.({ type: 'listening', url });
}

const LOOPBACK_NOTE = ' (bound to loopback because there are no API keys yet)';

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'));
}

runUntilStopped(lifecycle, start, {
  log,
  shutdownTimeoutMs: config.SHUTDOWN_TIMEOUT_MS,
  drain: async () => api?.drain(config.SHUTDOWN_DELAY_MS),
  followParent: true,
});
