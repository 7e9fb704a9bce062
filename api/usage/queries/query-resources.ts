import type { Request, Response } from 'express';
import { checkedId, optionalInteger, requiredId } from '../../http/query.js';
import { sendJson } from '../../http/respond.js';
import type { Resource } from '../../http/routes.js';
import { Refusal } from '../../refusal.js';
import { isoTime } from '../../restrictions/user-view.js';
import { currentView } from './current-view.js';
import { decodeCursor, encodeCursor } from './cursor.js';
import {
  forTenant,
  type UsageQueryDependencies,
  type UsageQueryOptions,
  usageQueryDependencies,
} from './query-dependencies.js';
import { requiredRange, strictQuery } from './query-parameters.js';
import { Summaries } from './summaries.js';
import { windowView } from './window-view.js';

const LIMIT_DEFAULT = 100;
const LIMIT_MAX = 1000;

/** What was used: every answer belongs to the tenant of the caller, and to no other. */
export function usageQueryResources(options: UsageQueryOptions): Resource[] {
  const dependencies = usageQueryDependencies(options);
  const summaries = new Summaries(dependencies);
  const get = (path: string, handler: typeof getWindows): Resource => ({
    path,
    methods: { get: forTenant((tenant, req, res) => handler(dependencies, tenant, req, res)) },
  });
  return [
    get('/usage/current', getCurrent),
    get('/usage/windows', getWindows),
    { path: '/usage/summary', methods: { get: forTenant((_tenant, req, res) => summaries.get(req, res)) } },
    get('/usage/events/:eventId', getReceipt),
  ];
}

async function getWindows(
  { gate, hot, windows }: UsageQueryDependencies,
  tenant: string,
  req: Request,
  res: Response,
): Promise<void> {
  const parameters = strictQuery(req.url, ['customerId', 'from', 'to', 'limit', 'cursor']);
  const customer = requiredId(parameters, 'customerId');
  const range = requiredRange(parameters);
  const limit = optionalInteger(parameters, 'limit', { min: 1, max: LIMIT_MAX, otherwise: LIMIT_DEFAULT });
  const list = { tenant, customer, ...range };
  const cursor = parameters.get('cursor');
  const from = cursor === undefined ? range.from : decodeCursor(list, cursor) + 1;
  gate.pass();
  // Before the windows: they hold at least what it says.
  const { watermarkMs, asOfMs } = await hot.watermark(customer);
  const page = await windows.page(customer, { from, to: range.to }, limit);
  sendJson(req, res, 200, {
    windows: page.windows.map((window) => windowView(tenant, customer, window)),
    watermark: isoTime(watermarkMs),
    asOf: isoTime(asOfMs),
    nextCursor: page.after === undefined ? null : encodeCursor(list, page.after),
  });
}

async function getCurrent(
  { gate, hot }: UsageQueryDependencies,
  tenant: string,
  req: Request,
  res: Response,
): Promise<void> {
  const customer = requiredId(strictQuery(req.url, ['customerId']), 'customerId');
  gate.pass();
  // Sent together, answered in this order.
  const [{ watermarkMs, asOfMs }, counters] = await Promise.all([
    hot.watermark(customer),
    hot.counters(customer),
  ]);
  sendJson(req, res, 200, {
    tenantId: tenant,
    customerId: customer,
    ...currentView(counters, asOfMs),
    watermark: isoTime(watermarkMs),
    asOf: isoTime(asOfMs),
  });
}

/** Receipts are in Postgres alone: there a moment after the event was accepted. */
async function getReceipt(
  { archive }: UsageQueryDependencies,
  _tenant: string,
  req: Request,
  res: Response,
): Promise<void> {
  const parameters = strictQuery(req.url, ['customerId']);
  const eventId = checkedId(req.params['eventId'] as string, 'eventId');
  const customer = parameters.has('customerId') ? requiredId(parameters, 'customerId') : undefined;
  if (archive === undefined) {
    throw new Refusal(
      'store_unavailable',
      'Receipts are kept in Postgres, and this process has no DATABASE_URL.',
    );
  }
  const receipt = await archive.receipt(eventId, customer);
  if (receipt === undefined) {
    throw new Refusal('receipt_not_found', 'No event of this id is archived (yet).');
  }
  sendJson(req, res, 200, {
    eventId,
    customerId: receipt.customer,
    status: receipt.status,
    windowStart: isoTime(receipt.windowStart),
    windowRevision: receipt.windowRevision,
    duplicates: receipt.duplicates,
    archived: true,
    acceptedAt: isoTime(receipt.acceptedAt),
    position: receipt.position,
  });
}
