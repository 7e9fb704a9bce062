import { fileURLToPath } from 'node:url';
import { pino } from 'pino';
import { type Consumer, composeConsumer } from '../../consumer/compose.js';
import type { Archive } from '../../consumer/engine/archive.js';
import type { Sink } from '../../consumer/engine/outbox-drain.js';
import { RULES } from '../../rules/restrictions/registry.js';
import type { Rule } from '../../rules/restrictions/rule.js';
import type { Config } from '../../shared/config.js';
import { Lifecycle } from '../../shared/lifecycle.js';
import { loadConfig } from '../../shared/load-config.js';
import { createLogger } from '../../shared/logging.js';

/** Timing of workers in tests: a lease runs out in 1.2 s instead of 3 s. */
export const FAST = { LEASE_TTL_MS: '1200', HEARTBEAT_MS: '300', LOG_LEVEL: 'silent' } as const;

export interface TestWorker extends Consumer {
  readonly config: Config;
  close(): Promise<void>;
}

/** A worker inside the test process, composed as the real one is. @param onError is told what it logs as an error */
export async function startWorker(
  environment: Readonly<Record<string, string>>,
  rules: readonly Rule[] = RULES,
  sinks?: readonly Sink[],
  archive?: Archive,
  onError?: (line: Record<string, unknown>) => void,
): Promise<TestWorker> {
  const config = loadConfig({ ...FAST, ...environment });
  const log =
    onError === undefined
      ? createLogger('test-worker', config.LOG_LEVEL)
      : pino({ level: 'error' }, { write: (line: string) => onError(JSON.parse(line)) });
  const lifecycle = new Lifecycle(log);
  const probeModule = fileURLToPath(new URL('../../consumer/probe-main.js', import.meta.url));
  try {
    const consumer = await composeConsumer({ config, lifecycle, log, rules, probeModule, sinks, archive });
    await consumer.worker.start();
    return { ...consumer, config, close: () => lifecycle.close() };
  } catch (error) {
    await lifecycle.close();
    throw error;
  }
}
