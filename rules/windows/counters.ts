import type { Effect } from '../../shared/effects.js';
import type { UsageData } from '../../shared/messages/usage.js';
import { type CountersState, SLOT_MS, type Slot, type SlotKind } from '../../shared/state/metering-state.js';
import { nameBytesOf } from '../../shared/state/name-bytes.js';
import type { MeteringContext } from './context.js';
import { addUsage, copyOfDimension, emptyTotals, requireRoom } from './totals.js';
import type { UsageEvent } from './usage-event.js';

/** How long a slot is kept, in ms from its start: two minutes, two hours, 25 hours beyond its end. */
const KEPT_MS: Readonly<Record<SlotKind, number>> = {
  minutes: SLOT_MS.minutes + 2 * SLOT_MS.minutes,
  hours: SLOT_MS.hours + 2 * SLOT_MS.hours,
  days: SLOT_MS.days + 25 * SLOT_MS.hours,
};
const KINDS: readonly SlotKind[] = ['minutes', 'hours', 'days'];

export interface CountersFolded {
  /** null: the document goes. */
  readonly counters: CountersState | null;
  readonly effects: readonly Effect[];
}

/**
 * The hot counters with one event more: in the minute, the hour and the day of its own time, as far as they are kept.
 * Null where there are none and the event is too old to begin any.
 * @throws when a sum would no longer be exact; nothing is changed then
 */
export function countInSlots(
  counters: CountersState | null,
  event: UsageEvent,
  context: MeteringContext,
): CountersState | null {
  const { at, settings } = context;
  const { timestamp, data } = event;
  const day = slotStart('days', timestamp);
  // A slot ends no later than the one around it and is kept no longer.
  if (isStale('days', day, at)) return counters;
  const hour = slotStart('hours', timestamp);
  const minute = slotStart('minutes', timestamp);
  const ofDay = counters?.days.get(day);
  const ofHour = counters?.hours.get(hour);
  const ofMinute = counters?.minutes.get(minute);
  if (ofDay !== undefined) requireRoom(ofDay, data);
  if (ofHour !== undefined) requireRoom(ofHour, data);
  if (ofMinute !== undefined) requireRoom(ofMinute, data);

  const draft = draftOf(counters, context.step);
  if (at > draft.staleAfter) dropStale(draft, at);
  count(draft, 'days', day, ofDay, data, settings.dimensionsMax);
  if (isStale('hours', hour, at)) return draft;
  count(draft, 'hours', hour, ofHour, data, settings.dimensionsMax);
  if (isStale('minutes', minute, at)) return draft;
  count(draft, 'minutes', minute, ofMinute, data, settings.dimensionsMax);
  return draft;
}

/** Makes the document end some time after its customer has fallen silent. */
export function foldCountersTimer(counters: CountersState | null, context: MeteringContext): CountersFolded {
  if (counters === null) return { counters, effects: [] };
  const draft = draftOf(counters, context.step);
  dropStale(draft, context.at);
  if (draft.days.size === 0) return { counters: null, effects: [] };
  return { counters: draft, effects: [countersTimer(draft, context)] };
}

/** Due when the last day, and with it everything, is stale. */
export function countersTimer(counters: CountersState, { tenant, customer, names }: MeteringContext): Effect {
  const last = Math.max(...counters.days.keys());
  return {
    kind: 'timer',
    id: names.countersDocument(tenant, customer),
    dueAt: keptUntil('days', last) + 1,
  };
}

function slotStart(kind: SlotKind, timestamp: number): number {
  return Math.floor(timestamp / SLOT_MS[kind]) * SLOT_MS[kind];
}

function keptUntil(kind: SlotKind, start: number): number {
  return start + KEPT_MS[kind];
}

function isStale(kind: SlotKind, start: number, at: number): boolean {
  return at > keptUntil(kind, start);
}

function draftOf(counters: CountersState | null, step: object): CountersState {
  if (counters === null) {
    return {
      owner: step,
      nameBytes: 0,
      staleAfter: Infinity,
      minutes: new Map(),
      hours: new Map(),
      days: new Map(),
    };
  }
  if (counters.owner === step) return counters;
  const { nameBytes, staleAfter, minutes, hours, days } = counters;
  // The slots themselves are copied when they are touched.
  return {
    owner: step,
    nameBytes,
    staleAfter,
    minutes: new Map(minutes),
    hours: new Map(hours),
    days: new Map(days),
  };
}

function dropStale(draft: CountersState, at: number): void {
  draft.staleAfter = Infinity;
  for (const kind of KINDS) {
    for (const [start, slot] of draft[kind]) {
      if (isStale(kind, start, at)) {
        draft.nameBytes -= nameBytesOf(slot);
        draft[kind].delete(start);
      } else {
        draft.staleAfter = Math.min(draft.staleAfter, keptUntil(kind, start));
      }
    }
  }
}

/** @param known the slot as it was found, if there was one */
function count(
  draft: CountersState,
  kind: SlotKind,
  start: number,
  known: Slot | undefined,
  data: UsageData,
  dimensionsMax: number,
): void {
  let slot = known;
  if (slot === undefined || slot.owner !== draft.owner) {
    slot = slot === undefined ? newSlot(start, draft.owner) : copyOf(slot, draft.owner);
    draft[kind].set(start, slot);
    draft.staleAfter = Math.min(draft.staleAfter, keptUntil(kind, start));
  }
  addUsage(slot, data, dimensionsMax, draft);
}

function newSlot(start: number, owner: object | undefined): Slot {
  return { start, owner, ...emptyTotals() };
}

function copyOf(slot: Slot, owner: object | undefined): Slot {
  const { start, calls, tokens, inputTokens, outputTokens, byEndpoint, byModel } = slot;
  return {
    start,
    owner,
    calls,
    tokens,
    inputTokens,
    outputTokens,
    byEndpoint: copyOfDimension(byEndpoint),
    byModel: copyOfDimension(byModel),
  };
}
