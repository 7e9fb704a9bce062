import { Refusal } from '../../../api/refusal.js';
import { Slots } from '../../../api/slots.js';
import { type UsageCall, UsageReader } from '../../../api/usage/usage-reader.js';
import { Keys } from '../../../shared/keys.js';
import type { Message } from '../../../shared/messages/message.js';
import type { UsageData } from '../../../shared/messages/usage.js';

/** The time of every test here. */
export const NOW = Date.parse('2026-11-20T12:00:00Z');
export const RETENTION_DAYS = 35;
export const PARTITIONS = 4;

export const CALL: UsageCall = { tenant: undefined, nowMs: NOW };
export const slots = new Slots(new Keys('test'), PARTITIONS);

export function newReader(): UsageReader {
  return new UsageReader(slots, RETENTION_DAYS * 86_400_000);
}

/** A valid event, as text, with fields replaced by JSON texts; undefined takes a field away. */
export function usageText(fields: Readonly<Record<string, string | undefined>> = {}): string {
  const all: Record<string, string | undefined> = {
    ...{ eventId: '"e1"', timestamp: '"2026-11-20T12:00:00Z"', tenantId: '"acme"', customerId: '"c1"' },
    ...{ apiEndpoint: '"/api/completion"', ...fields },
  };
  const members = Object.entries(all).filter(([, value]) => value !== undefined);
  return `{${members.map(([name, value]) => `${JSON.stringify(name)}:${value}`).join()}}`;
}

/** A valid event with this JSON text as metadata. */
export function withMetadata(metadata: string): string {
  return usageText({ metadata });
}

export function readMessage(
  text: string,
  call: UsageCall = CALL,
  reader: UsageReader = newReader(),
): Message<UsageData> {
  return JSON.parse(reader.read(JSON.parse(text), call).text) as Message<UsageData>;
}

/** What a reader refuses with; fails where it refuses nothing. */
export function refusalOf(read: () => unknown): Refusal {
  try {
    read();
  } catch (error) {
    if (error instanceof Refusal) return error;
    throw error;
  }
  throw new Error('it was accepted');
}

/** Paths of the defects. */
export function pathsOf(refusal: Refusal): string[] {
  return refusal.extras.errors?.map(({ path }) => path) ?? [];
}
