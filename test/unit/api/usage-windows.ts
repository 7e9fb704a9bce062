import type { UsageWindow } from '../../../shared/usage/usage-window.js';

/** A closed window of 30 s with one call, unless it is told otherwise. */
export function usageWindow(start: number, more: Partial<UsageWindow> = {}): UsageWindow {
  return {
    ...{ start, end: start + 30_000, status: 'closed', revision: 1, settling: false, late: 0 },
    ...{ calls: 1, tokens: 0, inputTokens: 0, outputTokens: 0 },
    ...{ latencyCount: 0, latencySumUs: 0, latency: new Map() },
    ...{ byEndpoint: new Map(), byModel: new Map() },
    last: { atMs: start, position: `usage.0/${start}-0:0` },
    ...more,
  };
}
