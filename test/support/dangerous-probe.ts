import { serveProbe } from '../../consumer/engine/probe.js';
import { createProcessors } from '../../consumer/topics/processors.js';
import { loadConfig } from '../../shared/load-config.js';
import { createLogger } from '../../shared/logging.js';
import { DANGEROUS_RULES } from './dangerous-rule.js';

serveProbe(
  createProcessors({
    config: loadConfig(),
    log: createLogger('probe', 'silent'),
    rules: DANGEROUS_RULES,
    onTrip: () => undefined,
  }),
);
