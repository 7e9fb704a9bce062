import type { Message } from '../../shared/messages/message.js';
import { LATENCY_MS_MAX, TOKENS_MAX, type UsageData } from '../../shared/messages/usage.js';

/** A message of type `usage` whose fields are what they should be. The subject is the customer. */
export interface UsageEvent extends Message<UsageData> {
  readonly tenant: string;
  /** When it was used, ms since the epoch. */
  readonly timestamp: number;
}

/** The end of the year 9999: above it an ISO time has another length, and ends of windows other digits. */
const TIMESTAMP_MS_MAX = 253_402_300_799_999;
const LATENCY_US_MAX = LATENCY_MS_MAX * 1000;

/**
 * The message itself, checked: what a fold would trip over, or could never take out of a sum again. Makes no object,
 * because it is called for every event.
 * @throws for anything else: it becomes a dead letter
 */
export function usageEventOf(message: Message): UsageEvent {
  const { tenant, subject, timestamp, data } = message;
  if (typeof tenant !== 'string' || tenant === '') throw new Error('the event has no tenant');
  if (subject === '') throw new Error('the event has no customer');
  requireCount(timestamp, TIMESTAMP_MS_MAX, 'timestamp');
  if (!Array.isArray(data)) throw new Error('data is not an array');
  requireText(data[0], 'endpoint');
  requireCount(data[1], TOKENS_MAX, 'tokens');
  requireCount(data[2], TOKENS_MAX, 'input tokens');
  requireCount(data[3], TOKENS_MAX, 'output tokens');
  if (data[4] !== null) requireText(data[4], 'model');
  if (data[5] !== null) requireCount(data[5], LATENCY_US_MAX, 'latency');
  if (data[6] !== undefined && (typeof data[6] !== 'object' || data[6] === null)) {
    throw new Error('the other metadata are not an object');
  }
  return message as UsageEvent;
}

/** Names are kept in Postgres, which takes no U+0000 and no half of a surrogate pair. */
function requireText(value: unknown, name: string): void {
  if (typeof value === 'string' && value.isWellFormed() && !value.includes('\0')) return;
  throw new Error(`the ${name} is no text`);
}

function requireCount(value: unknown, max: number, name: string): void {
  if (Number.isSafeInteger(value) && (value as number) >= 0 && (value as number) <= max) return;
  throw new Error(`${name} is not a whole number from 0 to ${max}`);
}
