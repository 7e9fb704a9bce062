import { type Message, SOURCE_FIRST } from './message.js';

/**
 * The wire format of one stream entry: a record batch of 1..n messages.
 *
 *   v  format version: `1`, or `2` where a message may have a source, which workers before it would overlook
 *   n  number of messages
 *   m  JSON array of messages (see Message)
 *
 * A worker that meets a `v` above its own releases the partition and touches nothing, so that a rolling deploy
 * may write the new format before every worker can read it. So each entry has the lowest version that will do.
 */
export const RECORD_BATCH_VERSION = 2;
export const RECORD_BATCH_MESSAGES_MAX = 256;
export const RECORD_BATCH_BYTES_MAX = 256 * 1024;

/** An entry as a fetch brings it: its id and its flat field list; or, where that is v 1 or 2, n, m, only the text of m. */
export type RawEntry = readonly [id: string, fields: readonly string[] | string];

export type DecodedEntry =
  | {
      readonly kind: 'batch';
      readonly id: string;
      readonly atMs: number;
      readonly messages: readonly Message[];
    }
  | { readonly kind: 'newer'; readonly id: string; readonly version: string }
  | {
      readonly kind: 'broken';
      readonly id: string;
      readonly atMs: number;
      readonly error: string;
      readonly raw: string;
    };

/** The version of an entry with these messages, each as text. */
export function recordBatchVersion(messages: readonly string[]): number {
  return messages.some((text) => text.startsWith(SOURCE_FIRST)) ? RECORD_BATCH_VERSION : 1;
}

/** Decodes one entry; never throws. */
export function decodeEntry([id, fields]: RawEntry): DecodedEntry {
  if (typeof fields === 'string') return decodeMessages(id, fields, fields);
  const raw = JSON.stringify(fields);
  const version = field(fields, 'v');
  if (version === undefined) return broken(id, 'the entry has no field v', raw);
  if (version !== '1' && version !== '2') {
    return Number(version) > RECORD_BATCH_VERSION
      ? { kind: 'newer', id, version }
      : broken(id, `unknown record batch version ${version.slice(0, 20)}`, raw);
  }
  const text = field(fields, 'm');
  return text === undefined ? broken(id, 'the entry has no field m', raw) : decodeMessages(id, text, raw);
}

function decodeMessages(id: string, text: string, raw: string): DecodedEntry {
  let messages: unknown;
  try {
    messages = JSON.parse(text);
  } catch (error) {
    return broken(id, `field m is not JSON: ${(error as Error).message}`, raw);
  }
  if (!Array.isArray(messages)) return broken(id, 'field m is not an array', raw);
  return { kind: 'batch', id, atMs: Number.parseInt(id, 10), messages };
}

function broken(id: string, error: string, raw: string): DecodedEntry {
  return { kind: 'broken', id, atMs: Number.parseInt(id, 10), error, raw };
}

/** Why a value of a record batch is not a message; undefined when it is one. */
export function messageDefect(value: unknown): string | undefined {
  if (typeof value !== 'object' || value === null) return 'the message is not an object';
  const message = value as Partial<Message>;
  if (typeof message.type !== 'string') return 'the message has no type';
  if (typeof message.subject !== 'string') return 'the message has no subject';
  if (typeof message.id !== 'string') return 'the message has no id';
  if (message.tenant !== undefined && typeof message.tenant !== 'string') return 'the tenant is not a string';
  if (message.source !== undefined && typeof message.source !== 'string') return 'the source is not a string';
  if (message.reply !== undefined && typeof message.reply !== 'string')
    return 'the reply address is not a string';
  return undefined;
}

function field(fields: readonly string[], name: string): string | undefined {
  for (let i = 0; i < fields.length; i += 2) {
    if (fields[i] === name) return fields[i + 1];
  }
  return undefined;
}
