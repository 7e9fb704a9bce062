import { RULES } from '../rules/restrictions/registry.js';
import { loadConfig } from '../shared/load-config.js';
import { createLogger } from '../shared/logging.js';
import { serveProbe } from './engine/probe.js';
import { createProcessors } from './topics/processors.js';

/** Folds suspicious messages on behalf of a worker, without any connection of its own. */
serveProbe(
  createProcessors({
    config: loadConfig(),
    log: createLogger('probe', 'silent'),
    rules: RULES,
    onTrip: () => undefined,
  }),
);
