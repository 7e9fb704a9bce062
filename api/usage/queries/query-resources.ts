import type { Request, Response } from 'express';
import { checkedId, requiredId } from '../../http/query.js';
import { sendJson } from '../../http/respond.js';
import type { Resource } from '../../http/routes.js';
import { Refusal } from '../../refusal.js';
import { isoTime } from '../../restrictions/user-view.js';
import { currentView } from './current-view.js';
import {
  forTenant,
  type TenantHandler,
  type UsageQueryDependencies,
  type UsageQueryOptions,
  usageQueryDependencies,
} from './query-dependencies.js';
import { strictQuery } from './query-parameters.js';
import { Summaries } from './summaries.js';
import { WindowPages } from './window-pages.js';

/** What was used: every answer belongs to the tenant of the caller, and to no other. */
export function usageQueryResources(options: UsageQueryOptions): Resource[] {
  const dependencies = usageQueryDependencies(options);
  const pages = new WindowPages(dependencies);
  const summaries = new Summaries(dependencies);
  const get = (path: string, handler: TenantHandler): Resource => ({
    path,
    methods: { get: forTenant(handler) },
  });
  return [
    get('/usage/current', (tenant, req, res) => getCurrent(dependencies, tenant, req, res)),
    get('/usage/windows', (tenant, req, res) => pages.get(tenant, req, res)),
    get('/usage/summary', (tenant, req, res) => summaries.get(tenant, req, res)),
    get('/usage/events/:eventId', (_tenant, req, res) => getReceipt(dependencies, req, res)),
  ];
}

async function getCurrent(
  { gate, hot, turns }: UsageQueryDependencies,
  tenant: string,
  req: Request,
  res: Response,
): Promise<void> {
  const customer = requiredId(strictQuery(req.url, ['customerId']), 'customerId');
  gate.pass();
  // Sent together, answered in this order.
  const [{ watermarkMs, asOfMs }, counters] = await turns.run(() =>
    Promise.all([hot.watermark(customer), hot.counters(customer)]),
  );
  sendJson(req, res, 200, {
    tenantId: tenant,
    customerId: customer,
    ...currentView(counters, asOfMs),
    watermark: isoTime(watermarkMs),
    asOf: isoTime(asOfMs),
  });
}

/** Receipts are in Postgres alone: there a moment after the event was accepted. */
async function getReceipt({ archive }: UsageQueryDependencies, req: Request, res: Response): Promise<void> {
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
