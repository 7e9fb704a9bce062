import type { Message } from '../../shared/messages/message.js';
import { messageDefect } from '../../shared/messages/record-batch.js';
import { EntryVerdicts, type Verdicts } from '../../shared/messages/verdicts.js';
import type { JudgedEvent } from './archive.js';
import { compareEntryIds } from './head.js';

/** An entry of the stream with its messages as they lie there; none where it could not be decoded. */
export interface StreamEntry {
  readonly id: string;
  readonly messages: readonly unknown[];
}

export interface Judged {
  readonly events: readonly JudgedEvent[];
  /** Messages that the verdicts speak of and the stream no longer has. */
  readonly missing: number;
}

/**
 * Pairs verdicts with the messages they judge. Pure. What no verdict covers is left out; what a verdict covers and
 * the stream does not have is counted, never guessed.
 * @param entries in stream order, from the first verdict's beginning to the last one's end
 */
export function judge(
  verdicts: readonly { readonly outbox: string; readonly verdicts: Verdicts }[],
  entries: readonly StreamEntry[],
): Judged {
  const events: JudgedEvent[] = [];
  let missing = 0;
  let next = 0;
  for (const { outbox, verdicts: given } of verdicts) {
    const [fromPosition, fromInside, fromMessages] = given.f;
    const [toPosition, toInside, toMessages] = given.t;
    let found = 0;
    while (next < entries.length && compareEntryIds(entries[next]!.id, fromPosition) <= 0) next += 1;
    for (; next < entries.length; next += 1) {
      const { id, messages } = entries[next]!;
      const whole = compareEntryIds(id, toPosition) <= 0;
      if (!whole && id !== toInside) break;
      const begin = id === fromInside ? fromMessages : 0;
      const end = whole ? messages.length : Math.min(toMessages, messages.length);
      const ofEntry = new EntryVerdicts(given.x?.[id]);
      for (let index = begin; index < end; index += 1) {
        found += 1;
        const message = messages[index] as Message;
        // What is no message has no subject to keep it under; it lies among the dead letters.
        if (messageDefect(message) !== undefined) continue;
        const { judgement, revision } = ofEntry.of(index);
        events.push({ outbox, entry: id, index, judgement, revision, message });
      }
      if (!whole) break;
    }
    missing += Math.max(0, given.n - found);
  }
  return { events, missing };
}
