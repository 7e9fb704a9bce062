import type { UsageWindow } from '../../../shared/usage/usage-window.js';
import { isoTime } from '../../restrictions/user-view.js';
import { averageMs, dimensionView, percentiles } from './usage-figures.js';

/** One window as `GET /usage/windows` shows it. Times are ISO 8601, latencies ms. */
export function windowView(tenant: string, customer: string, window: UsageWindow): object {
  return {
    windowStart: isoTime(window.start),
    windowEnd: isoTime(window.end),
    tenantId: tenant,
    customerId: customer,
    status: window.status,
    revision: window.revision,
    // True: the revision is still being made, of late events that came close together.
    settling: window.settling,
    lateEvents: window.late,
    aggregations: {
      totalCalls: window.calls,
      totalTokens: window.tokens,
      totalInputTokens: window.inputTokens,
      totalOutputTokens: window.outputTokens,
      avgLatencyMs: averageMs(window),
      byEndpoint: dimensionView(window.byEndpoint),
      byModel: dimensionView(window.byModel),
    },
    latency: percentiles(window.latency),
    // The last event that was counted: when it was accepted, and where it lies.
    asOf: isoTime(window.last.atMs),
    position: window.last.position,
  };
}
