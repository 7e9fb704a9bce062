import { type BodyKind, parseJson } from '../http/body.js';
import { Refusal } from '../refusal.js';

export const BATCH_ITEMS_MAX = 1000;

/**
 * The items of a posted batch: the elements of an array, or the lines that are not blank. A line that cannot be read is
 * the Refusal that says why.
 * @throws Refusal malformed_json; invalid_request when there are none or too many
 */
export function batchItems(kind: BodyKind, text: string): readonly unknown[] {
  const items = kind === 'ndjson' ? lineItems(text) : arrayItems(parseJson(text));
  if (items.length === 0) throw refused('holds no events');
  return items;
}

function arrayItems(value: unknown): readonly unknown[] {
  if (!Array.isArray(value)) throw refused('must be an array of events');
  if (value.length > BATCH_ITEMS_MAX) throw tooMany();
  return value;
}

function lineItems(text: string): unknown[] {
  const items: unknown[] = [];
  for (let from = 0; from < text.length; ) {
    let to = text.indexOf('\n', from);
    if (to === -1) to = text.length;
    const line = text.slice(from, to);
    from = to + 1;
    if (line.trim() === '') continue;
    if (items.length === BATCH_ITEMS_MAX) throw tooMany();
    items.push(lineItem(line));
  }
  return items;
}

function lineItem(line: string): unknown {
  try {
    return parseJson(line, 'line');
  } catch (error) {
    return error;
  }
}

function tooMany(): Refusal {
  return refused(`may hold at most ${BATCH_ITEMS_MAX} events`);
}

function refused(message: string): Refusal {
  return new Refusal('invalid_request', `The body ${message}.`, { errors: [{ path: '', message }] });
}
