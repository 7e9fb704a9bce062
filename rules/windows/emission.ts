import type { NamedUsage, StoredWindow, WindowEmission } from '../../shared/messages/window-emission.js';
import { encodeSketch } from '../../shared/state/latency-sketch.js';
import type { Dimension, WindowState } from '../../shared/state/metering-state.js';

/** Whose window it is, and how long. */
export interface WindowOwner {
  readonly tenant: string;
  readonly customer: string;
  readonly windowMs: number;
}

/** A closed or revised window as the archive has it. */
export function storedOf(window: WindowState, { tenant, customer, windowMs }: WindowOwner): StoredWindow {
  return {
    tenant,
    customer,
    start: window.start,
    end: window.start + windowMs,
    status: window.revision > 1 ? 'revised' : 'closed',
    revision: window.revision,
    asOf: [window.asOfEntry, window.asOfIndex],
    calls: window.calls,
    tokens: window.tokens,
    inputTokens: window.inputTokens,
    outputTokens: window.outputTokens,
    latencyCount: window.latencyCount,
    latencySumUs: window.latencySumUs,
    late: window.late,
    endpoints: namedUsage(window.byEndpoint),
    models: namedUsage(window.byModel),
    latency: encodeSketch(window.latency),
  };
}

/** A closed or revised window as it goes to the outbox. */
export function emissionOf(window: WindowState, owner: WindowOwner, at: number): WindowEmission {
  return { ...storedOf(window, owner), emission: window.emission, at };
}

function namedUsage(dimension: Dimension): NamedUsage[] {
  const named: NamedUsage[] = [];
  for (const [name, { calls, tokens }] of dimension) named.push([name, calls, tokens]);
  return named;
}
