import type { IncomingHttpHeaders } from 'node:http';
import { SOURCE_CHARACTERS_MAX } from '../../shared/messages/usage.js';
import type { IngestMessage } from '../ingest/ingest-message.js';
import { type Defect, invalid, Refusal } from '../refusal.js';
import { boundedTextJson } from './text-json.js';
import { refused, type UsageCall, type UsageReader, usageIdOf } from './usage-reader.js';

/**
 * CloudEvents 1.0. `data` is a usage event; what it lacks comes from the envelope:
 *
 *   id → eventId      time → timestamp      subject → customerId
 *
 * `data` wins where both have a time or a customer; two ids must be equal. `source` and `id` together are the identity:
 * each source numbers as it likes. Other attributes and extensions may be there and are not looked at.
 */
const FROM_ENVELOPE: ReadonlyMap<string, string> = new Map([
  ['eventId', 'id'],
  ['timestamp', 'time'],
  ['customerId', 'subject'],
]);

const REQUIRED = ['id', 'source', 'type'] as const;

/** In binary mode: what weir reads, and of it what only a CloudEvent has. */
const ATTRIBUTES = ['specversion', 'type', 'source', 'id', 'time', 'subject'] as const;
const TELLING = ['ce-specversion', 'ce-id', 'ce-source', 'ce-type'] as const;

type Envelope = Readonly<Record<string, unknown>>;

/**
 * The message of one CloudEvent in the JSON format.
 * @param value anything that JSON.parse gave
 * @throws Refusal as UsageReader.read, and invalid_request for what is wrong with the envelope
 */
export function readCloudEvent(reader: UsageReader, value: unknown, call: UsageCall): IngestMessage {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw refused([{ path: '', message: 'must be a CloudEvent' }]);
  }
  const envelope = value as Envelope;
  const defects = envelopeDefects(envelope);
  if (defects.length > 0) throw refused(defects);
  const { data, id, time, subject, source } = envelope;
  try {
    return reader.read(data, call, {
      eventId: id,
      timestamp: time,
      customerId: subject,
      source: source as string,
    });
  } catch (error) {
    throw error instanceof Refusal ? relocated(error, envelope) : error;
  }
}

/** The same refusal with the paths that its defects have in the envelope. */
function relocated({ code, detail, extras }: Refusal, envelope: Envelope): Refusal {
  if (extras.errors === undefined) return new Refusal(code, detail, extras);
  const data = envelope['data'] as Envelope;
  const errors = extras.errors.map(({ path, message }) => {
    const attribute = FROM_ENVELOPE.get(path);
    const isAttribute = attribute !== undefined && isAbsent(data[path]) && !isAbsent(envelope[attribute]);
    return { path: isAttribute ? attribute : `data.${path}`, message };
  });
  return refused(errors, code);
}

/** The id under which a CloudEvent would count, where it has a usable one: for the list of rejected items. */
export function cloudEventIdOf(value: unknown): string | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const { id, data } = value as Envelope;
  return usageIdOf(data) ?? usageIdOf({ eventId: id });
}

/**
 * Binary mode: the attributes are `ce-` headers and the body is `data`. One of them is enough: an event that lacks the
 * others is refused, and does not count under an identity that its producer did not mean.
 */
export function isBinaryCloudEvent(headers: IncomingHttpHeaders): boolean {
  return TELLING.some((header) => headers[header] !== undefined);
}

/**
 * @param headers as `headersDistinct` has them
 * @throws Refusal invalid_request
 */
export function binaryCloudEvent(
  headers: Readonly<Record<string, readonly string[] | undefined>>,
  data: unknown,
): object {
  const envelope: Record<string, unknown> = { data };
  for (const attribute of ATTRIBUTES) {
    const header = `ce-${attribute}`;
    const values = headers[header];
    if (values === undefined) continue;
    if (values.length > 1) throw invalid(header, 'is given more than once');
    envelope[attribute] = decodedHeader(header, values[0]!);
  }
  return envelope;
}

/** As the HTTP binding wants it: double quotes are taken off, then one round of percent-decoding. */
function decodedHeader(header: string, value: string): string {
  if (/[^\x20-\x7e]/.test(value)) throw invalid(header, 'holds characters that must be percent-encoded');
  try {
    return decodeURIComponent(unquoted(header, value));
  } catch (error) {
    if (error instanceof Refusal) throw error;
    throw invalid(header, 'holds malformed percent-encoding');
  }
}

function unquoted(header: string, value: string): string {
  if (!value.includes('"')) return value;
  let text = '';
  let inside = false;
  for (let i = 0; i < value.length; i += 1) {
    if (value[i] === '"') inside = !inside;
    else if (inside && value[i] === '\\') {
      i += 1;
      text += value[i] ?? '';
    } else text += value[i];
  }
  if (inside) throw invalid(header, 'holds a double quote that is not closed');
  return text;
}

function envelopeDefects(envelope: Envelope): Defect[] {
  const { specversion, id, source, data } = envelope;
  const defects: Defect[] = [];
  if (specversion !== '1.0') defects.push({ path: 'specversion', message: 'must be "1.0"' });
  for (const path of REQUIRED) {
    const value = envelope[path];
    if (typeof value === 'string' && value !== '') continue;
    defects.push({ path, message: isAbsent(value) ? 'is required' : 'must be a string that is not empty' });
  }
  if (typeof source === 'string' && source !== '') {
    boundedTextJson(source, SOURCE_CHARACTERS_MAX, 'source', defects);
  }
  if (typeof data !== 'object' || data === null || Array.isArray(data)) {
    defects.push({ path: 'data', message: 'must be an object: data_base64 and other formats are not taken' });
  } else {
    const { eventId } = data as Envelope;
    if (!isAbsent(eventId) && eventId !== id) {
      defects.push({ path: 'data.eventId', message: 'must be equal to id, or absent' });
    }
  }
  return defects;
}

function isAbsent(value: unknown): boolean {
  return value === undefined || value === null;
}
