import type { DueTimer, Message } from '../../shared/messages/message.js';
import { messageDefect } from '../../shared/messages/record-batch.js';
import type { Cursor, EntryBuffer, PendingEntry } from './entry-buffer.js';
import type { Input, Processor, ReadDocument } from './processor.js';
import type { DueTimers } from './timers.js';

/** One input of a step, and where the head stands once it is folded. */
export type Planned = {
  readonly at: number;
  readonly after: Cursor;
} & (
  | { readonly kind: 'message'; readonly message: Message; readonly input: Input }
  | { readonly kind: 'timer'; readonly timer: DueTimer; readonly input: Input }
  /** What cannot be folded at all: an entry that does not decode, a value that is no message. */
  | {
      readonly kind: 'broken';
      readonly letter: 'entry' | 'message';
      readonly text: string;
      readonly error: string;
    }
  /** An entry without messages. */
  | { readonly kind: 'empty' }
);

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
  const walk = walkMessages(options);
  let next = walk.next();
  let at = options.headAt;
  let after: Cursor = { position: options.position, inside: options.buffer.inside };
  let slot: number | undefined;
  let dueIndex = 0;
  while (planned.length < inputsMax) {
    const timer = timers.due[dueIndex];
    const nextAt = next.done === true ? Infinity : Math.max(at, next.value.entry.atMs);
    if (timer !== undefined && timer.dueAt <= nextAt) {
      const timerAt = Math.max(at, timer.dueAt);
      const input: Input = { kind: 'timer', timer, at: timerAt };
      const alone = needsRange(processor, input, readPinned);
      if (alone && planned.length > 0) break;
      planned.push({ kind: 'timer', timer, input, at: timerAt, after });
      at = timerAt;
      dueIndex += 1;
      if (alone) break;
      continue;
    }
    if (next.done === true || nextAt > timers.completeUntilMs) break;
    slot ??= slotOf(nextAt);
    if (slotOf(nextAt) !== slot) break;
    const item = planMessage(next.value, nextAt);
    const alone = item.kind === 'message' && processor.foldsAlone(item.message);
    if (alone && planned.length > 0) break;
    planned.push(item);
    at = nextAt;
    after = item.after;
    next = walk.next();
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

interface Walked {
  readonly entry: PendingEntry;
  /** undefined: the entry as a whole. */
  readonly message: unknown;
  readonly whole: boolean;
  readonly after: Cursor;
}

/** Every message that waits, with the cursor after it. */
function* walkMessages({ buffer, position }: PlanOptions): Generator<Walked, undefined> {
  let before = position;
  let offset = buffer.inside?.messages ?? 0;
  for (const entry of buffer.pending) {
    const count = entry.messages.length;
    if (count === 0 || offset >= count) {
      yield { entry, message: undefined, whole: true, after: { position: entry.id, inside: undefined } };
    }
    for (let i = offset; i < count; i += 1) {
      const inside = i + 1 === count ? undefined : { entry: entry.id, messages: i + 1 };
      const after = { position: inside === undefined ? entry.id : before, inside };
      yield { entry, message: entry.messages[i], whole: false, after };
    }
    before = entry.id;
    offset = 0;
  }
  return undefined;
}

function planMessage({ entry, message, whole, after }: Walked, at: number): Planned {
  if (whole) {
    return entry.error === undefined
      ? { kind: 'empty', at, after }
      : { kind: 'broken', letter: 'entry', text: entry.raw ?? '', error: entry.error, at, after };
  }
  const defect = messageDefect(message);
  if (defect !== undefined) {
    return { kind: 'broken', letter: 'message', text: JSON.stringify(message), error: defect, at, after };
  }
  const valid = message as Message;
  return { kind: 'message', message: valid, input: { kind: 'message', message: valid, at }, at, after };
}
