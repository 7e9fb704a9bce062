import type { NamedUsage, StoredWindow } from '../../shared/messages/window-emission.js';
import { decodeSketch } from '../../shared/state/latency-sketch.js';
import type { AsOf, Dimension, WindowState } from '../../shared/state/metering-state.js';
import { nameBytesOf } from '../../shared/state/name-bytes.js';
import type { WindowSettings } from './context.js';
import { storedOf } from './emission.js';
import type { UsageEvent } from './usage-event.js';
import { countInWindow, newWindow, requireRoomInWindow, windowStart } from './window-document.js';

/** An event that came when its window had left Redis, and where it lies in the stream. */
export interface ColdEvent {
  readonly event: UsageEvent;
  readonly place: AsOf;
}

/**
 * The next revision of a window that has left Redis: what the archive has of it (null: nothing) and the events that
 * came since, in the order of the stream, none twice. Counts as the fold does, so that it is as exact.
 * @throws when there are no events, when they are not of one window, or when a sum would no longer be exact
 */
export function correct(
  stored: StoredWindow | null,
  events: readonly ColdEvent[],
  { windowMs, dimensionsMax }: Pick<WindowSettings, 'windowMs' | 'dimensionsMax'>,
): StoredWindow {
  const first = events[0]?.event;
  if (first === undefined) throw new Error('no events to correct a window with');
  const { tenant, subject: customer } = first;
  const start = windowStart(first.timestamp, windowMs);
  if (stored !== null) requireSame(stored, tenant, customer, start);
  const window = stored === null ? newWindow(start, 'revised', undefined) : windowOf(stored);
  for (const { event, place } of events) {
    requireSame(
      { tenant, customer, start },
      event.tenant,
      event.subject,
      windowStart(event.timestamp, windowMs),
    );
    requireRoomInWindow(window, event);
    countInWindow(window, event, place, dimensionsMax);
    window.late += 1;
  }
  return storedOf(window, { tenant, customer, windowMs });
}

function requireSame(
  window: Pick<StoredWindow, 'tenant' | 'customer' | 'start'>,
  tenant: string,
  customer: string,
  start: number,
): void {
  if (window.tenant === tenant && window.customer === customer && window.start === start) return;
  throw new Error('the events are not all of the window that they correct');
}

/** A draft of the revision after the stored one. */
function windowOf(stored: StoredWindow): WindowState {
  const byEndpoint = dimensionOf(stored.endpoints);
  const byModel = dimensionOf(stored.models);
  return {
    ...newWindow(stored.start, 'revised', undefined),
    revision: stored.revision + 1,
    calls: stored.calls,
    tokens: stored.tokens,
    inputTokens: stored.inputTokens,
    outputTokens: stored.outputTokens,
    byEndpoint,
    byModel,
    nameBytes: nameBytesOf({ byEndpoint, byModel }),
    latencyCount: stored.latencyCount,
    latencySumUs: stored.latencySumUs,
    latency: decodeSketch(stored.latency),
    late: stored.late,
  };
}

function dimensionOf(named: readonly NamedUsage[]): Dimension {
  return new Map(named.map(([name, calls, tokens]) => [name, { calls, tokens }]));
}
