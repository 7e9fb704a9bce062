import type { IncomingHttpHeaders } from 'node:http';
import type { IngestMessage } from '../ingest/ingest-message.js';
import { type Defect, invalid, Refusal } from '../refusal.js';
import { refused, type UsageCall, type UsageReader, usageIdOf } from './usage-reader.js';

/**
 * CloudEvents 1.0. `data` is a usage event; what it lacks comes from the envelope:
 *
 *   id → eventId      time → timestamp      subject → customerId
 *
 * `data` wins where both have a time or a customer; two ids must be equal. `eventId` alone is what weir dedupes by:
 * `source` is not part of it. Other attributes and extensions may be there and are not looked at.
 */
const FROM_ENVELOPE: ReadonlyMap<string, string> = new Map([
  ['eventId', 'id'],
  ['timestamp', 'time'],
  ['customerId', 'subject'],
]);

const REQUIRED = ['id', 'source', 'type'] as const;

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
  const { data, id, time, subject } = envelope;
  try {
    return reader.read(data, call, { eventId: id, timestamp: time, customerId: subject });
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

/** Binary mode: the attributes are `ce-` headers, percent-encoded, and the body is `data`. */
export function isBinaryCloudEvent(headers: IncomingHttpHeaders): boolean {
  return headers['ce-specversion'] !== undefined;
}

/** @throws Refusal invalid_request */
export function binaryCloudEvent(headers: IncomingHttpHeaders, data: unknown): object {
  const envelope: Record<string, unknown> = { data };
  for (const attribute of ['specversion', 'type', 'source', 'id', 'time', 'subject']) {
    const header = `ce-${attribute}`;
    const value = headers[header];
    if (value === undefined) continue;
    try {
      envelope[attribute] = decodeURIComponent(String(value));
    } catch {
      throw invalid(header, 'holds malformed percent-encoding');
    }
  }
  return envelope;
}

function envelopeDefects(envelope: Envelope): Defect[] {
  const { specversion, id, data } = envelope;
  const defects: Defect[] = [];
  if (specversion !== '1.0') defects.push({ path: 'specversion', message: 'must be "1.0"' });
  for (const path of REQUIRED) {
    const value = envelope[path];
    if (typeof value === 'string' && value !== '') continue;
    defects.push({ path, message: isAbsent(value) ? 'is required' : 'must be a string that is not empty' });
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
