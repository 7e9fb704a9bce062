import type { Request, Response } from 'express';
import { appendRefusal } from '../append-refusal.js';
import type { BodyKind } from '../http/body.js';
import { sendJson } from '../http/respond.js';
import { Refusal } from '../refusal.js';
import type { Slot } from '../slots.js';
import { batchItems } from './batch-items.js';
import type { IngestDependencies } from './ingest-dependencies.js';
import type { IngestMessage } from './ingest-message.js';

/** What the items of a batch are. */
export interface BatchFormat {
  /** How the answer calls the id of an item. */
  readonly idField: 'event_id' | 'eventId';
  /** @throws Refusal why this item is not valid */
  read(item: unknown): IngestMessage;
  /** The id of an item that is not valid, where it has a usable one. */
  idOf(item: unknown): string | undefined;
}

/** An item of a posted batch that was not accepted. `index` counts items from 0; blank lines are not items. */
interface Rejected {
  readonly index: number;
  readonly event_id?: string;
  readonly eventId?: string;
  readonly code: string;
  readonly detail: string;
}

/** The valid items of one partition, in the order in which they were sent. */
interface SlotItems {
  readonly slot: Slot;
  readonly texts: string[];
  readonly indices: number[];
  readonly ids: string[];
}

/**
 * Takes in a batch that was read: what is valid is in the stream before the answer, the rest is listed in it.
 * @throws Refusal when nothing was accepted; StoreUnavailable
 */
export async function postBatch(
  dependencies: IngestDependencies,
  format: BatchFormat,
  body: { readonly kind: BodyKind; readonly text: string },
  req: Request,
  res: Response,
): Promise<void> {
  const items = batchItems(body.kind, body.text);
  const rejected: Rejected[] = [];
  const bySlot = group(format, items, rejected);
  if (bySlot.length === 0) throw noneValid(rejected);
  dependencies.gate.pass();
  const refusals = await appendAll(dependencies, format, bySlot, rejected);
  const accepted = items.length - rejected.length;
  rejected.sort((a, b) => a.index - b.index);
  if (accepted === 0) throw noneAppended(refusals, rejected);
  sendJson(req, res, 202, { accepted, rejected });
}

/** Validates every item; the invalid ones go to `rejected`, the others to their partition. */
function group(format: BatchFormat, items: readonly unknown[], rejected: Rejected[]): SlotItems[] {
  const bySlot = new Map<Slot, SlotItems>();
  items.forEach((item, index) => {
    try {
      if (item instanceof Refusal) throw item;
      const { slot, id, text } = format.read(item);
      let ofSlot = bySlot.get(slot);
      if (ofSlot === undefined) {
        ofSlot = { slot, texts: [], indices: [], ids: [] };
        bySlot.set(slot, ofSlot);
      }
      ofSlot.texts.push(text);
      ofSlot.indices.push(index);
      ofSlot.ids.push(id);
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      rejected.push(rejection(format, index, format.idOf(item), error));
    }
  });
  return [...bySlot.values()];
}

/** Appends; what could not be appended goes to `rejected`. @returns the reasons, without their items */
async function appendAll(
  { appender, sampler }: IngestDependencies,
  format: BatchFormat,
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
        rejected.push(rejection(format, indices[i]!, ids[i]!, last));
      });
      if (last !== undefined) refusals.push(last);
    }),
  );
  return refusals;
}

function rejection(format: BatchFormat, index: number, id: string | undefined, why: Refusal): Rejected {
  const { code, detail } = why;
  return { index, ...(id === undefined ? {} : { [format.idField]: id }), code, detail };
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
