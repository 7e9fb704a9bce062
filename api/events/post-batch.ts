import type { Request, Response } from 'express';
import { appendRefusal } from '../append-refusal.js';
import type { BodyKind } from '../http/body.js';
import { parseJson } from '../http/body.js';
import { sendJson } from '../http/respond.js';
import { Refusal } from '../refusal.js';
import type { Slot } from '../slots.js';
import type { EventDependencies } from './event-dependencies.js';
import { eventIdOf, parseEvent } from './parse-event.js';

export const BATCH_ITEMS_MAX = 1000;

/** An item of a posted batch that was not accepted. `index` counts items from 0; blank lines are not items. */
interface Rejected {
  readonly index: number;
  readonly event_id?: string;
  readonly code: string;
  readonly detail: string;
}

/** An item as it was sent: a value, or a line that is not JSON. */
type Item = { readonly kind: 'value'; readonly value: unknown } | { readonly kind: 'broken' };

/** The valid items of one partition, in the order in which they were sent. */
interface SlotItems {
  readonly slot: Slot;
  readonly texts: string[];
  readonly indices: number[];
  readonly ids: string[];
}

export async function postBatch(dependencies: EventDependencies, req: Request, res: Response): Promise<void> {
  const { bodies, gate } = dependencies;
  const { kind, text } = await bodies.readJsonOrLines(req);
  const items = itemsOf(kind, text);
  const rejected: Rejected[] = [];
  const bySlot = group(dependencies, items, rejected, req.requestId);
  if (bySlot.length === 0) throw noneValid(rejected);
  gate.pass();
  const refusals = await appendAll(dependencies, bySlot, rejected);
  const accepted = items.length - rejected.length;
  rejected.sort((a, b) => a.index - b.index);
  if (accepted === 0) throw noneAppended(refusals, rejected);
  sendJson(req, res, 202, { accepted, rejected });
}

/** @throws Refusal malformed_json; invalid_request when there are none or too many */
function itemsOf(kind: BodyKind, text: string): Item[] {
  const items = kind === 'json' ? arrayItems(parseJson(text)) : lineItems(text);
  if (items.length === 0) throw countRefused('holds no events');
  return items;
}

function arrayItems(value: unknown): Item[] {
  if (!Array.isArray(value)) throw countRefused('must be an array of events');
  if (value.length > BATCH_ITEMS_MAX) throw countRefused(`may hold at most ${BATCH_ITEMS_MAX} events`);
  return value.map((item: unknown) => ({ kind: 'value', value: item }));
}

function lineItems(text: string): Item[] {
  const items: Item[] = [];
  for (let from = 0; from < text.length; ) {
    let to = text.indexOf('\n', from);
    if (to === -1) to = text.length;
    const line = text.slice(from, to);
    from = to + 1;
    if (line.trim() === '') continue;
    if (items.length === BATCH_ITEMS_MAX) throw countRefused(`may hold at most ${BATCH_ITEMS_MAX} events`);
    items.push(lineItem(line));
  }
  return items;
}

function lineItem(line: string): Item {
  try {
    return { kind: 'value', value: JSON.parse(line) };
  } catch {
    return { kind: 'broken' };
  }
}

/** Validates every item; the invalid ones go to `rejected`, the others to their partition. */
function group(
  { slots }: EventDependencies,
  items: readonly Item[],
  rejected: Rejected[],
  requestId: string,
): SlotItems[] {
  const bySlot = new Map<Slot, SlotItems>();
  items.forEach((item, index) => {
    if (item.kind === 'broken') {
      rejected.push({ index, code: 'malformed_json', detail: 'The line is not valid JSON.' });
      return;
    }
    try {
      const message = parseEvent(item.value, requestId);
      const slot = slots.ofUser(message.subject);
      let ofSlot = bySlot.get(slot);
      if (ofSlot === undefined) {
        ofSlot = { slot, texts: [], indices: [], ids: [] };
        bySlot.set(slot, ofSlot);
      }
      ofSlot.texts.push(JSON.stringify(message));
      ofSlot.indices.push(index);
      ofSlot.ids.push(message.id);
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      const { code, detail } = error;
      const id = eventIdOf(item.value);
      rejected.push({ index, ...(id === undefined ? {} : { event_id: id }), code, detail });
    }
  });
  return [...bySlot.values()];
}

/** Appends; what could not be appended goes to `rejected`. @returns the reasons, without their items */
async function appendAll(
  { appender, sampler }: EventDependencies,
  bySlot: readonly SlotItems[],
  rejected: Rejected[],
): Promise<Refusal[]> {
  const refusals: Refusal[] = [];
  await Promise.all(
    bySlot.map(async ({ slot, texts, indices, ids }) => {
      const outcomes = await appender.appendAll(slot.keys, texts);
      let last: Refusal | undefined;
      outcomes.forEach((outcome, i) => {
        if (outcome.kind === 'appended') return;
        last = appendRefusal(outcome, slot, sampler);
        rejected.push({ index: indices[i]!, event_id: ids[i]!, code: last.code, detail: last.detail });
      });
      if (last !== undefined) refusals.push(last);
    }),
  );
  return refusals;
}

function noneValid(rejected: readonly Rejected[]): Refusal {
  return new Refusal('invalid_request', 'None of the events is valid.', {
    errors: rejected.slice(0, 20).map(({ index, detail }) => ({ path: String(index), message: detail })),
    members: { rejected },
  });
}

/** The store being away outweighs being full: it is the one that concerns all items. */
function noneAppended(refusals: readonly Refusal[], rejected: readonly Rejected[]): Refusal {
  const worst =
    refusals.find(({ code }) => code === 'store_unavailable') ??
    refusals.find(({ code }) => code === 'overloaded') ??
    refusals[0]!;
  const retryAfterSeconds = Math.max(...refusals.map(({ extras }) => extras.retryAfterSeconds ?? 1));
  return new Refusal(worst.code, worst.detail, { retryAfterSeconds, members: { rejected } });
}

function countRefused(message: string): Refusal {
  return new Refusal('invalid_request', `The body ${message}.`, { errors: [{ path: '', message }] });
}
