import type { Appender } from '../shared/append/appender.js';
import type { Message } from '../shared/messages/message.js';
import { appendRefusal } from './append-refusal.js';
import type { BacklogSampler } from './backlog-sampler.js';
import type { ReplyWaiter } from './replies.js';
import type { Slot } from './slots.js';

export interface CommandDependencies {
  readonly appender: Appender;
  readonly replies: ReplyWaiter;
  readonly sampler: BacklogSampler;
}

/**
 * Appends a message and waits for the worker that folds it.
 * @returns the reply; undefined when none came in time: the message is in the stream and will be folded
 * @throws Refusal when it was not appended
 */
export async function sendCommand(
  { appender, replies, sampler }: CommandDependencies,
  slot: Slot,
  message: Message,
): Promise<unknown> {
  // Registered before the message is sent: a reply may be quicker than the answer to the append.
  const pending = replies.expect(slot);
  const outcome = await appender.append(slot.keys, JSON.stringify({ ...message, reply: pending.address }));
  if (outcome.kind !== 'appended') {
    pending.cancel();
    throw appendRefusal(outcome, slot, sampler);
  }
  return pending.reply;
}
