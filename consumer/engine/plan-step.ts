import { messageDefect } from '../../shared/messages/record-batch.js';
import type { Cursor, EntryBuffer, PendingEntry } from './entry-buffer.js';
import type { Input, Processor, ReadDocument } from './processor.js';
import type { DueTimers } from './timers.js';

/** Where a message lies: one for all messages of an entry. */
export interface Place {
  readonly entry: PendingEntry;
  /** The entry before it, where the head stands while this one is not folded completely. */
  readonly before: string;
}

/**
 * One input of a step. A message or a timer is at the same time the `Input` that is folded: thousands are made for
 * every commit, so each is one object.
 */
export type Planned =
  | (Input & { readonly kind: 'message'; readonly place: Place; readonly index: number })
  | (Input & { readonly kind: 'timer'; readonly after: Cursor })
  /** What cannot be folded at all: an entry that does not decode, a value that is no message. */
  | {
      readonly kind: 'broken';
      readonly letter: 'entry' | 'message';
      readonly text: string;
      readonly error: string;
      readonly at: number;
      readonly place: Place;
      readonly index: number;
    }
  /** An entry without messages. */
  | { readonly kind: 'empty'; readonly at: number; readonly place: Place; readonly index: number };

/** Where the head stands once `item` is folded. */
export function cursorAfter(item: Planned): Cursor {
  if (item.kind === 'timer') return item.after;
  const { place, index } = item;
  const { id, messages } = place.entry;
  return index + 1 < messages.length
    ? { position: place.before, inside: { entry: id, messages: index + 1 } }
    : { position: id, inside: undefined };
}

export interface PlanOptions {
  readonly buffer: EntryBuffer;
  readonly position: string;
  readonly headAt: number;
  readonly timers: DueTimers;
  readonly inputsMax: number;
  readonly slotOf: (at: number) => number;
  readonly processor: Processor;
  /** Reads documents that are always in memory (the processor's pinned ones). */
  readonly readPinned: ReadDocument;
}

/**
 * Chooses the inputs of the next step, in the one order that every replay has: timers due at or before an entry's
 * `at` come before that entry. A step never crosses a slot of the id window, never passes timers that were not
 * loaded, and holds nothing else beside an input that must be folded alone.
 */
export function planStep(options: PlanOptions): Planned[] {
  const { timers, inputsMax, processor, readPinned, slotOf } = options;
  const planned: Planned[] = [];
  const walk = new Walk(options);
  let at = options.headAt;
  let after: Cursor = { position: options.position, inside: options.buffer.inside };
  let slot: number | undefined;
  let dueIndex = 0;
  while (planned.length < inputsMax) {
    const timer = timers.due[dueIndex];
    const nextAt = walk.place === undefined ? Infinity : Math.max(at, walk.place.entry.atMs);
    if (timer !== undefined && timer.dueAt <= nextAt) {
      at = Math.max(at, timer.dueAt);
      const last = planned.at(-1);
      if (last !== undefined) after = cursorAfter(last);
      const item: Planned = { kind: 'timer', timer, at, after };
      const alone = needsRange(processor, item, readPinned);
      if (alone && planned.length > 0) break;
      planned.push(item);
      dueIndex += 1;
      if (alone) break;
      continue;
    }
    if (walk.place === undefined || nextAt > timers.completeUntilMs) break;
    slot ??= slotOf(nextAt);
    if (slotOf(nextAt) !== slot) break;
    const item = planMessage(walk.place, walk.index, nextAt);
    const alone = item.kind === 'message' && processor.foldsAlone(item.message);
    if (alone && planned.length > 0) break;
    planned.push(item);
    at = nextAt;
    walk.advance();
    if (alone) break;
  }
  return planned;
}

/** A timer that nobody can make sense of any more is refused when it is folded, not here. */
function needsRange(processor: Processor, input: Input, readPinned: ReadDocument): boolean {
  try {
    return processor.range?.(input, readPinned) !== undefined;
  } catch {
    return false;
  }
}

/** Stands at the next message that waits, or at an entry that has none. */
class Walk {
  /** undefined: nothing waits. */
  place: Place | undefined;
  index: number;
  private next = 1;
  private readonly pending: readonly PendingEntry[];

  constructor({ buffer, position }: PlanOptions) {
    this.pending = buffer.pending;
    const first = buffer.pending[0];
    this.place = first === undefined ? undefined : { entry: first, before: position };
    this.index = buffer.inside?.messages ?? 0;
  }

  advance(): void {
    const { place } = this;
    if (place === undefined) return;
    this.index += 1;
    if (this.index < place.entry.messages.length) return;
    const entry = this.pending[this.next];
    this.place = entry === undefined ? undefined : { entry, before: place.entry.id };
    this.next += 1;
    this.index = 0;
  }
}

function planMessage(place: Place, index: number, at: number): Planned {
  const { entry } = place;
  if (index >= entry.messages.length) {
    return entry.error === undefined
      ? { kind: 'empty', at, place, index }
      : { kind: 'broken', letter: 'entry', text: entry.raw ?? '', error: entry.error, at, place, index };
  }
  const message = entry.messages[index]!;
  const defect = messageDefect(message);
  if (defect !== undefined) {
    return {
      kind: 'broken',
      letter: 'message',
      text: JSON.stringify(message),
      error: defect,
      at,
      place,
      index,
    };
  }
  return { kind: 'message', message, at, place, index };
}
