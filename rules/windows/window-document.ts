import type { AsOf, WindowState, WindowStatus } from '../../shared/state/metering-state.js';
import { addLatency } from '../latency-sketch.js';
import { addUsage, copyOfDimension, emptyTotals, requireRoom } from './totals.js';
import type { UsageEvent } from './usage-event.js';

/** Start, ms since the epoch, of the window that holds `timestamp`. It ends `windowMs` later, exclusive. */
export function windowStart(timestamp: number, windowMs: number): number {
  return Math.floor(timestamp / windowMs) * windowMs;
}

/** A window without events. One that begins after it closed begins as its own correction. */
export function newWindow(start: number, status: WindowStatus, owner: object | undefined): WindowState {
  const late = status !== 'open';
  return {
    start,
    owner,
    ...emptyTotals(),
    nameBytes: 0,
    latencyCount: 0,
    latencySumUs: 0,
    latency: new Map(),
    status,
    revision: late ? 2 : 0,
    settling: late,
    late: 0,
    emission: 0,
    asOfEntry: '',
    asOfIndex: 0,
  };
}

/** The document itself where this step may change it, otherwise a copy of all that changes. */
export function draftOfWindow(window: WindowState, step: object): WindowState {
  if (window.owner === step) return window;
  return {
    ...window,
    owner: step,
    byEndpoint: copyOfDimension(window.byEndpoint),
    byModel: copyOfDimension(window.byModel),
    latency: new Map(window.latency),
  };
}

/** @throws when a sum would no longer be exact. To be asked before anything is changed */
export function requireRoomInWindow(window: WindowState, { data }: UsageEvent): void {
  requireRoom(window, data);
  if (data[5] !== null && window.latencySumUs + data[5] > Number.MAX_SAFE_INTEGER) {
    throw new Error('the sum of latencies would no longer be exact');
  }
}

/** Counts an event in a draft. @returns how many of its names had to be counted under `__other__` */
export function countInWindow(
  window: WindowState,
  { data }: UsageEvent,
  place: AsOf,
  dimensionsMax: number,
): number {
  const others = addUsage(window, data, dimensionsMax, window);
  const latencyUs = data[5];
  if (latencyUs !== null) {
    window.latencyCount += 1;
    window.latencySumUs += latencyUs;
    addLatency(window.latency, latencyUs);
  }
  window.asOfEntry = place.entry;
  window.asOfIndex = place.index;
  return others;
}
