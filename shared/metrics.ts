import { collectDefaultMetrics, Registry } from 'prom-client';

/** The registry of one process, with Node's own figures (memory, event loop lag, garbage collection). */
export function createRegistry(): Registry {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  return registry;
}
