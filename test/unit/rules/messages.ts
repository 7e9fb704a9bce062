import type { Control } from '../../../shared/messages/commands.js';
import type { EventData, EventName, Feature } from '../../../shared/messages/events.js';
import type { Message } from '../../../shared/messages/message.js';
import type { Entry } from './simulated-partition.js';

let made = 0;

/** An id that no other message of the run has. */
function freshId(): string {
  made += 1;
  return `m${made}`;
}

export function event<Name extends EventName>(
  at: number,
  type: Name,
  user: string,
  data: EventData[Name],
  id = freshId(),
): Entry {
  return { at, message: { type, subject: user, id, data } };
}

export function flag(at: number, user: string, id = freshId()): Entry {
  return event(at, 'scam_message_flagged', user, {}, id);
}

export function card(at: number, user: string, cardId: string, zip: string, id = freshId()): Entry {
  return event(at, 'credit_card_added', user, { card_id: cardId, zip_code: zip }, id);
}

export function purchase(at: number, user: string, amount: number): Entry {
  return event(at, 'purchase_made', user, { amount });
}

export function chargeback(at: number, user: string, amount: number, id = freshId()): Entry {
  return event(at, 'chargeback_occurred', user, { amount }, id);
}

export function overridePut(
  at: number,
  user: string,
  feature: Feature,
  allow: boolean,
  extra: { expires_at?: number; reply?: string } = {},
): Entry {
  const { expires_at, reply } = extra;
  const data = {
    feature,
    allow,
    reason: 'checked',
    actor: 'ada',
    ...(expires_at === undefined ? {} : { expires_at }),
  };
  return { at, message: withReply({ type: 'override_put', subject: user, id: freshId(), data }, reply) };
}

export function overrideDelete(at: number, user: string, feature: Feature, reply?: string): Entry {
  return {
    at,
    message: withReply({ type: 'override_delete', subject: user, id: freshId(), data: { feature } }, reply),
  };
}

export function control(at: number, data: Control, reply?: string): Entry {
  return { at, message: withReply({ type: 'control', subject: '', id: freshId(), data }, reply) };
}

function withReply(message: Message, reply: string | undefined): Message {
  return reply === undefined ? message : { ...message, reply };
}
