import type { Request, Response } from 'express';
import { SOURCE_CHARACTERS_MAX } from '../../../shared/messages/usage.js';
import type { Receipt } from '../../../shared/postgres/repositories/receipts-repository.js';
import { checkedId, requiredId } from '../../http/query.js';
import { sendJson } from '../../http/respond.js';
import { type Defect, invalid, Refusal } from '../../refusal.js';
import { isoTime } from '../../restrictions/user-view.js';
import { boundedTextJson } from '../text-json.js';
import { type Parameters, strictQuery } from './query-parameters.js';
import type { UsageArchive } from './usage-archive.js';

/** Customers, and sources, that a refusal names. */
const NAMED_MAX = 20;

/** `GET /usage/events/{eventId}`. Receipts are in Postgres alone: there a moment after the event was accepted. */
export async function getReceipt(
  archive: UsageArchive | undefined,
  req: Request,
  res: Response,
): Promise<void> {
  const parameters = strictQuery(req.url, ['customerId', 'source']);
  const eventId = checkedId(req.params['eventId'] as string, 'eventId');
  const customer = parameters.has('customerId') ? requiredId(parameters, 'customerId') : undefined;
  const source = optionalSource(parameters);
  if (archive === undefined) {
    throw new Refusal(
      'store_unavailable',
      'Receipts are kept in Postgres, and this process has no DATABASE_URL.',
    );
  }
  const receipts = await archive.receipts(eventId, { customer, source });
  const [receipt] = receipts;
  if (receipt === undefined) {
    throw new Refusal('receipt_not_found', 'No event of this id is archived (yet).');
  }
  if (receipts.length > 1) throw ambiguous(receipts);
  sendJson(req, res, 200, receiptView(eventId, receipt));
}

/** The members that are about one count tell of the first. */
function receiptView(eventId: string, { customer, source, entries, counted, duplicates }: Receipt): object {
  const [first] = entries;
  const counts = entries.filter(({ status }) => status !== 'dead');
  return {
    eventId,
    customerId: customer,
    source,
    status: first.status,
    windowStart: isoTime(first.windowStart),
    windowRevision: first.windowRevision,
    tokens: first.status === 'dead' ? 0 : first.tokens,
    duplicates,
    counted,
    counts: counts.map(({ windowStart, windowRevision }) => ({
      windowStart: isoTime(windowStart),
      windowRevision,
    })),
    archived: true,
    acceptedAt: isoTime(first.acceptedAt),
    position: first.position,
  };
}

/** undefined: any; null: empty, so none. @throws Refusal invalid_request */
function optionalSource(parameters: Parameters): string | null | undefined {
  const source = parameters.get('source');
  if (source === undefined) return undefined;
  if (source === '') return null;
  const defects: Defect[] = [];
  boundedTextJson(source, SOURCE_CHARACTERS_MAX, 'source', defects);
  if (defects.length > 0) throw invalid('source', defects[0]!.message);
  return source;
}

function ambiguous(receipts: readonly Receipt[]): Refusal {
  const named = <T>(values: readonly T[]): T[] => [...new Set(values)].slice(0, NAMED_MAX);
  const customers = named(receipts.map(({ customer }) => customer));
  const sources = named(receipts.map(({ source }) => source));
  const which = customers.length > 1 ? 'customerId' : 'source';
  return new Refusal('ambiguous_event', `Several events have this id: ${which} says which one is meant.`, {
    members: { customers, sources },
  });
}
