import type { Effect } from '../shared/effects.js';
import type { ArchivedData } from '../shared/messages/usage.js';
import type { AsOf, CountersState, MeteringState, WindowState } from '../shared/state/metering-state.js';
import type { MeteringContext, WindowSettings } from './windows/context.js';
import { countersTimer, countInSlots } from './windows/counters.js';
import { emissionOf } from './windows/emission.js';
import type { UsageEvent } from './windows/usage-event.js';
import {
  countInWindow,
  draftOfWindow,
  newWindow,
  requireRoomInWindow,
  windowStart,
} from './windows/window-document.js';

/**
 * Usage events to exact windows. One document per customer and window, which its own timer moves on:
 *
 *   (none) ── event ──────────────► open ── end + lateness: emit ──► closed ─┐
 *      │                              ↺ event: counts                        │ event: counts, is late
 *      │                                                                     ▼
 *      ├── event, closed already ───────────────────────────────► revised, settling  ↺ event: counts, is late
 *      │                                                              │            ▲
 *      │                                        revision delay: emit  ▼            │ event: counts, is late
 *      │                                                           revised ────────┘
 *      │
 *      └── event, and the window is cold ──► nothing here: the archive corrects it with the event (correct.ts)
 *
 *   closed, revised ── end + hot, and the archive has its last emission ──► (none), cold from now on
 *
 * Everything is decided by the partition's time `at`, never by an event's own: a producer with a wrong clock closes
 * nobody's windows.
 */
export type UsageVerdict = 'accepted' | 'late' | 'cold';

export interface UsageStates {
  readonly window: WindowState | null;
  readonly counters: CountersState | null;
  readonly partition: MeteringState | null;
}

/** The documents are those given in where nothing changed, or where they were drafts of this step already. */
export interface UsageFolded extends UsageStates {
  readonly partition: MeteringState;
  readonly effects: readonly Effect[];
  readonly verdict: UsageVerdict;
  /** The revision of the window that counts the event; 0 where only the archive knows. */
  readonly revision: number;
}

export interface WindowFolded {
  /** null: the document goes. */
  readonly window: WindowState | null;
  readonly partition: MeteringState | null;
  readonly effects: readonly Effect[];
}

/**
 * A window that may not leave yet, because the archive lags behind, is asked again after as long as windows are
 * kept, but within these bounds, in ms.
 */
const EVICT_RETRY_MS = { min: 1000, max: 60_000 } as const;

/**
 * The API takes events up to an hour ahead of its own clock; another hour for how far that may differ from Redis'.
 * What lies further ahead would open documents without bound.
 */
const AHEAD_MS_MAX = 2 * 3_600_000;

const NEW_METERING: MeteringState = {
  owner: undefined,
  bornAt: 0,
  coldUntil: 0,
  emissions: 0,
  archived: 0,
};
const NOTHING: readonly Effect[] = [];
const LATE: Effect = { kind: 'count', metric: 'late_events' };
const COLD: Effect = { kind: 'count', metric: 'cold_events' };
const ONLY_LATE: readonly Effect[] = [LATE];

/**
 * Counts one event in its window and in the hot counters.
 * @param place of the message in the stream
 * @throws when a sum would no longer be exact; nothing is changed then
 */
export function foldUsage(
  event: UsageEvent,
  place: AsOf,
  states: UsageStates,
  context: MeteringContext,
): UsageFolded {
  const { at, settings, step } = context;
  if (event.timestamp > at + AHEAD_MS_MAX) throw new Error('the timestamp lies too far in the future');
  const start = windowStart(event.timestamp, settings.windowMs);
  const known = states.window;
  // Before the first change: both may throw, the counters only before they change anything themselves.
  if (known !== null) requireRoomInWindow(known, event);
  const counters = countInSlots(states.counters, event, context);
  let partition = states.partition ?? NEW_METERING;
  if (partition.bornAt === 0) {
    partition = draftOfPartition(partition, step);
    partition.bornAt = at;
  }
  let effects = NOTHING;
  let window: WindowState | null;
  let verdict: UsageVerdict;
  if (known !== null) {
    window = draftOfWindow(known, step);
    verdict = known.status === 'open' ? 'accepted' : 'late';
    if (verdict === 'late') effects = window.settling ? ONLY_LATE : [reopen(window, context), LATE];
  } else if (isCold(start, partition, context)) {
    partition = rememberCold(partition, start + settings.windowMs, step);
    window = null;
    verdict = 'cold';
    effects = [COLD];
  } else {
    window = begin(start, context);
    verdict = window.status === 'open' ? 'accepted' : 'late';
    effects = beginningEffects(window, context);
  }
  if (window !== null) {
    if (verdict === 'late') window.late += 1;
    const others = countInWindow(window, event, place, settings.dimensionsMax);
    if (others > 0) effects = [...effects, { kind: 'count', metric: 'other_dimension', by: others }];
  }
  if (states.counters === null && counters !== null) effects = [...effects, countersTimer(counters, context)];
  const revision = verdict === 'accepted' ? 1 : (window?.revision ?? 0);
  return { window, counters, partition, effects, verdict, revision };
}

/** The window's timer: it closes, its late events are settled, or it leaves. See the picture above. */
export function foldWindowTimer(
  states: Pick<UsageStates, 'window' | 'partition'>,
  context: MeteringContext,
): WindowFolded {
  const { window, partition } = states;
  if (window === null) return { window, partition, effects: NOTHING };
  if (window.status !== 'open' && !window.settling) return evict(window, partition, context);
  const { at, settings, step, tenant, customer } = context;
  const closes = window.status === 'open';
  const draft = draftOfWindow(window, step);
  const emitting = draftOfPartition(partition ?? NEW_METERING, step);
  emitting.emissions += 1;
  draft.emission = emitting.emissions;
  draft.settling = false;
  if (closes) {
    draft.status = 'closed';
    draft.revision = 1;
  }
  const owner = { tenant, customer, windowMs: settings.windowMs };
  const leavesAt = window.start + settings.windowMs + settings.hotMs;
  return {
    window: draft,
    partition: emitting,
    effects: [
      { kind: 'emit', type: 'window', body: emissionOf(draft, owner, at) },
      windowTimer(window.start, Math.max(leavesAt, at + 1), context),
      { kind: 'count', metric: closes ? 'windows_closed' : 'windows_revised' },
    ],
  };
}

/**
 * The archive has confirmed emissions. Older news than is known changes nothing.
 * @throws when it confirms what was never emitted: windows that it does not have would leave
 */
export function foldArchived(
  state: MeteringState | null,
  data: unknown,
  { step }: Pick<MeteringContext, 'step'>,
): MeteringState | null {
  const upTo = (data as Partial<ArchivedData> | null)?.upTo;
  if (!Number.isSafeInteger(upTo)) throw new Error('upTo is not a whole number');
  const { emissions, archived } = state ?? NEW_METERING;
  if (upTo! > emissions) throw new Error(`the archive confirms emission ${upTo} of ${emissions}`);
  if (state === null || upTo! <= archived) return state;
  const draft = draftOfPartition(state, step);
  draft.archived = upTo!;
  return draft;
}

/**
 * What a partition begins with that was lost while the archive was not: every window that has begun is cold. A window
 * begun anew would hold only what came since, and replace what the archive has counted in it.
 * @param at ms since the epoch
 */
export function bornAgain(at: number, { windowMs }: Pick<WindowSettings, 'windowMs'>): MeteringState {
  return { ...NEW_METERING, coldUntil: windowStart(at, windowMs) + windowMs };
}

/** The window is not in Redis and may not begin there: it has left, or may have been corrected without being here. */
function isCold(start: number, { coldUntil }: MeteringState, { at, settings }: MeteringContext): boolean {
  return start + settings.windowMs <= Math.max(coldUntil, at - settings.hotMs);
}

/**
 * Once cold, always cold: were WINDOW_HOT_HOURS raised later, a window begun anew here would overwrite what the
 * archive has counted in it.
 */
function rememberCold(partition: MeteringState, end: number, step: object): MeteringState {
  if (end <= partition.coldUntil) return partition;
  const draft = draftOfPartition(partition, step);
  draft.coldUntil = end;
  return draft;
}

/** The first event of a window. After it would have closed, revision 1 was the empty window that nobody stored. */
function begin(start: number, { at, settings, step }: MeteringContext): WindowState {
  const closesAt = start + settings.windowMs + settings.latenessMs;
  return newWindow(start, at < closesAt ? 'open' : 'revised', step);
}

function beginningEffects(window: WindowState, context: MeteringContext): Effect[] {
  const { tenant, customer, at, settings, names } = context;
  const { start } = window;
  const index = names.hotWindowsIndex(tenant, customer);
  const indexed: Effect = { kind: 'index', index, member: String(start), score: start };
  if (window.status === 'open') {
    return [indexed, windowTimer(start, start + settings.windowMs + settings.latenessMs, context)];
  }
  return [indexed, windowTimer(start, at + settings.revisionDelayMs, context), LATE];
}

/** The first late event since the last emission begins the next revision, which gathers those that follow. */
function reopen(draft: WindowState, context: MeteringContext): Effect {
  draft.status = 'revised';
  draft.revision += 1;
  draft.settling = true;
  return windowTimer(draft.start, context.at + context.settings.revisionDelayMs, context);
}

function evict(window: WindowState, partition: MeteringState | null, context: MeteringContext): WindowFolded {
  const { tenant, customer, at, settings, names, step } = context;
  if (partition === null || window.emission > partition.archived) {
    const retryMs = Math.min(EVICT_RETRY_MS.max, Math.max(EVICT_RETRY_MS.min, settings.hotMs));
    return { window, partition, effects: [windowTimer(window.start, at + retryMs, context)] };
  }
  const index = names.hotWindowsIndex(tenant, customer);
  return {
    window: null,
    partition: rememberCold(partition, window.start + settings.windowMs, step),
    effects: [{ kind: 'unindex', index, member: String(window.start) }],
  };
}

function windowTimer(start: number, dueAt: number, { tenant, customer, names }: MeteringContext): Effect {
  return { kind: 'timer', id: names.windowDocument(tenant, start, customer), dueAt };
}

function draftOfPartition(partition: MeteringState, step: object): MeteringState {
  return partition.owner === step ? partition : { ...partition, owner: step };
}
