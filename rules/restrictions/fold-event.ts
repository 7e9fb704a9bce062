import { EVENT_PROPERTIES, type EventName } from '../../shared/messages/events.js';
import type { Message } from '../../shared/messages/message.js';
import type { PartitionState } from '../../shared/state/partition-state.js';
import type { UserState } from '../../shared/state/user-state.js';
import type { Catalog } from './compile-catalog.js';
import { type Context, draftOf, type Folded } from './draft.js';
import { evaluate } from './evaluate.js';
import { applyEvent, type EventProperties } from './profile.js';
import { recordWindows } from './record-windows.js';

/** Evidence ids kept per rule, and listed with a restriction. */
const EVIDENCE_MAX = 5;

/**
 * Folds one event: counters and evidence first, whatever mode the rules are in; then the windows of those that are not
 * off; then each of them is asked.
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
  const { catalog } = context;
  const counted: UserState = {
    known: true,
    profile: applyEvent(user.profile, type, data),
    windows: user.windows,
    recent: recordEvidence(user.recent, catalog.evidenceOf.get(type), id),
    restrictions: user.restrictions,
    overrides: user.overrides,
    shadow: user.shadow,
  };
  const draft = draftOf(counted, user.known ? partition : { ...partition, users: partition.users + 1 });
  recordWindows(draft, catalog.windowsOf.get(type), data, context);
  evaluate(draft, context);
  return draft;
}

function isEventName(type: string): type is EventName {
  return Object.hasOwn(EVENT_PROPERTIES, type);
}

function isProperties(data: unknown): data is EventProperties {
  return typeof data === 'object' && data !== null;
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
