import type { NamedUsage } from '../messages/window-emission.js';
import { decodeSketch, encodeSketch } from './latency-sketch.js';
import type {
  CountersState,
  Dimension,
  MeteringState,
  Slot,
  Totals,
  WindowState,
  WindowStatus,
} from './metering-state.js';
import { nameBytesOf } from './name-bytes.js';
import { DOCUMENT_VERSION, parseDocument } from './state-codec.js';

/**
 * Compact JSON: fields at their default are left out. Names are values in arrays, never keys: `__proto__` is one
 * like any other.
 */
interface StoredTotals {
  calls?: number;
  tokens?: number;
  in?: number;
  out?: number;
  endpoints?: readonly NamedUsage[];
  models?: readonly NamedUsage[];
}

interface StoredWindowDocument extends StoredTotals {
  v: number;
  start: number;
  /** `closed` and `revised`; left out while open. */
  status?: WindowStatus;
  revision?: number;
  settling?: true;
  late?: number;
  emission?: number;
  asOf?: readonly [entry: string, index: number];
  latencyCount?: number;
  latencySum?: number;
  latency?: readonly number[];
}

interface StoredSlot extends StoredTotals {
  start: number;
}

interface StoredCounters {
  v: number;
  minutes?: readonly StoredSlot[];
  hours?: readonly StoredSlot[];
  days?: readonly StoredSlot[];
}

interface StoredMetering {
  v: number;
  bornAt?: number;
  coldUntil?: number;
  emissions?: number;
  archived?: number;
}

export function encodeWindow(window: WindowState): string {
  const stored: StoredWindowDocument = { v: DOCUMENT_VERSION, start: window.start };
  if (window.status !== 'open') stored.status = window.status;
  if (window.revision > 0) stored.revision = window.revision;
  if (window.settling) stored.settling = true;
  if (window.late > 0) stored.late = window.late;
  if (window.emission > 0) stored.emission = window.emission;
  if (window.asOfEntry !== '') stored.asOf = [window.asOfEntry, window.asOfIndex];
  storeTotals(stored, window);
  if (window.latencyCount > 0) stored.latencyCount = window.latencyCount;
  if (window.latencySumUs > 0) stored.latencySum = window.latencySumUs;
  if (window.latency.size > 0) stored.latency = encodeSketch(window.latency);
  return JSON.stringify(stored);
}

/** @throws NewerDocumentError for a version above ours. */
export function decodeWindow(text: string): WindowState {
  const stored = parseDocument(text) as unknown as StoredWindowDocument;
  const totals = totalsOf(stored);
  return {
    owner: undefined,
    start: stored.start,
    ...totals,
    nameBytes: nameBytesOf(totals),
    latencyCount: stored.latencyCount ?? 0,
    latencySumUs: stored.latencySum ?? 0,
    latency: decodeSketch(stored.latency ?? []),
    status: stored.status ?? 'open',
    revision: stored.revision ?? 0,
    settling: stored.settling === true,
    late: stored.late ?? 0,
    emission: stored.emission ?? 0,
    asOfEntry: stored.asOf?.[0] ?? '',
    asOfIndex: stored.asOf?.[1] ?? 0,
  };
}

export function encodeCounters({ minutes, hours, days }: CountersState): string {
  const stored: StoredCounters = { v: DOCUMENT_VERSION };
  if (minutes.size > 0) stored.minutes = storedSlots(minutes);
  if (hours.size > 0) stored.hours = storedSlots(hours);
  if (days.size > 0) stored.days = storedSlots(days);
  return JSON.stringify(stored);
}

/** @throws NewerDocumentError for a version above ours. */
export function decodeCounters(text: string): CountersState {
  const stored = parseDocument(text) as unknown as StoredCounters;
  const counters: CountersState = {
    owner: undefined,
    nameBytes: 0,
    staleAfter: 0,
    minutes: slotsOf(stored.minutes),
    hours: slotsOf(stored.hours),
    days: slotsOf(stored.days),
  };
  for (const slots of [counters.minutes, counters.hours, counters.days]) {
    for (const slot of slots.values()) counters.nameBytes += nameBytesOf(slot);
  }
  return counters;
}

export function encodeMetering({ bornAt, coldUntil, emissions, archived }: MeteringState): string {
  const stored: StoredMetering = { v: DOCUMENT_VERSION };
  if (bornAt !== 0) stored.bornAt = bornAt;
  if (coldUntil !== 0) stored.coldUntil = coldUntil;
  if (emissions !== 0) stored.emissions = emissions;
  if (archived !== 0) stored.archived = archived;
  return JSON.stringify(stored);
}

/** @throws NewerDocumentError for a version above ours. */
export function decodeMetering(text: string): MeteringState {
  const {
    bornAt = 0,
    coldUntil = 0,
    emissions = 0,
    archived = 0,
  } = parseDocument(text) as unknown as StoredMetering;
  return { owner: undefined, bornAt, coldUntil, emissions, archived };
}

function storeTotals(stored: StoredTotals, totals: Totals): void {
  if (totals.calls > 0) stored.calls = totals.calls;
  if (totals.tokens > 0) stored.tokens = totals.tokens;
  if (totals.inputTokens > 0) stored.in = totals.inputTokens;
  if (totals.outputTokens > 0) stored.out = totals.outputTokens;
  if (totals.byEndpoint.size > 0) stored.endpoints = storedDimension(totals.byEndpoint);
  if (totals.byModel.size > 0) stored.models = storedDimension(totals.byModel);
}

function totalsOf(stored: StoredTotals): Totals {
  return {
    calls: stored.calls ?? 0,
    tokens: stored.tokens ?? 0,
    inputTokens: stored.in ?? 0,
    outputTokens: stored.out ?? 0,
    byEndpoint: dimensionOf(stored.endpoints),
    byModel: dimensionOf(stored.models),
  };
}

function storedSlots(slots: ReadonlyMap<number, Slot>): StoredSlot[] {
  const stored: StoredSlot[] = [];
  for (const slot of slots.values()) {
    const one: StoredSlot = { start: slot.start };
    storeTotals(one, slot);
    stored.push(one);
  }
  return stored;
}

function slotsOf(stored: readonly StoredSlot[] = []): Map<number, Slot> {
  return new Map(
    stored.map((slot) => [slot.start, { owner: undefined, start: slot.start, ...totalsOf(slot) }]),
  );
}

function storedDimension(dimension: Dimension): NamedUsage[] {
  const named: NamedUsage[] = [];
  for (const [name, { calls, tokens }] of dimension) named.push([name, calls, tokens]);
  return named;
}

function dimensionOf(named: readonly NamedUsage[] = []): Dimension {
  return new Map(named.map(([name, calls, tokens]) => [name, { calls, tokens }]));
}
