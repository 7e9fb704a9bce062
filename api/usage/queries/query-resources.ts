import type { Request, Response } from 'express';
import { requiredId } from '../../http/query.js';
import { sendJson } from '../../http/respond.js';
import type { Resource } from '../../http/routes.js';
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
import { getReceipt } from './receipts.js';
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
    get('/usage/events/:eventId', (_tenant, req, res) => getReceipt(dependencies.archive, req, res)),
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
