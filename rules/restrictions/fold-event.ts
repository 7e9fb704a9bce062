import { EVENT_PROPERTIES, type EventName } from '../../shared/messages/events.js';
import type { Message } from '../../shared/messages/message.js';
import type { PartitionState } from '../../shared/state/partition-state.js';
import type { UserState } from '../../shared/state/user-state.js';
import type { Catalog } from './compile-catalog.js';
import { type Context, draftOf, type Folded } from './draft.js';
import { evaluate } from './evaluate.js';
import { applyEvent, type EventProperties } from './profile.js';
import { addToWindow, type CompiledWindow } from './windows.js';

/** Evidence ids kept per rule, and listed with a restriction. */
const EVIDENCE_MAX = 5;

/**
 * Folds one event: counters, windows and evidence first, whatever mode the rules are in; then every rule is asked.
 * @throws for an event that weir does not know, or whose properties are not what the event has
 */
export function foldEvent(
  user: UserState,
  partition: PartitionState,
  message: Message,
  context: Context,
): Folded {
  const { type, subject, data, id } = message;
  if (!isEventName(type)) throw new Error(`unknown message type ${type.slice(0, 100)}`);
  if (subject === '') throw new Error('the event has no user');
  if (!isProperties(data)) throw new Error('the event has no properties');
  const { catalog, at } = context;
  const counted: UserState = {
    known: true,
    profile: applyEvent(user.profile, type, data),
    windows: recordWindows(user.windows, catalog.windowsOf.get(type), data, at),
    recent: recordEvidence(user.recent, catalog.evidenceOf.get(type), id),
    restrictions: user.restrictions,
    overrides: user.overrides,
    shadow: user.shadow,
  };
  const draft = draftOf(counted, user.known ? partition : { ...partition, users: partition.users + 1 });
  evaluate(draft, context);
  return draft;
}

function isEventName(type: string): type is EventName {
  return Object.hasOwn(EVENT_PROPERTIES, type);
}

function isProperties(data: unknown): data is EventProperties {
  return typeof data === 'object' && data !== null;
}

function recordWindows(
  windows: UserState['windows'],
  entered: readonly CompiledWindow[] | undefined,
  properties: EventProperties,
  at: number,
): UserState['windows'] {
  if (entered === undefined) return windows;
  const recorded = { ...windows };
  for (const window of entered) {
    const value = window.distinct === undefined ? '' : distinctValue(properties, window.distinct);
    recorded[window.key] = addToWindow(windows[window.key] ?? [], window, at, value);
  }
  return recorded;
}

function distinctValue(properties: EventProperties, name: string): string {
  const value = properties[name];
  if (typeof value !== 'string' && typeof value !== 'number')
    throw new Error(`${name} is not a text or number`);
  return String(value);
}

function recordEvidence(
  recent: UserState['recent'],
  explains: Catalog['rules'] | undefined,
  id: string,
): UserState['recent'] {
  if (explains === undefined) return recent;
  const recorded = { ...recent };
  for (const { rule } of explains) {
    const ids = recent[rule.name] ?? [];
    recorded[rule.name] = [...(ids.length < EVIDENCE_MAX ? ids : ids.slice(1 - EVIDENCE_MAX)), id];
  }
  return recorded;
}
