import type { IncomingMessage } from 'node:http';
import { invalid } from './refusal.js';

const TENANT = /^[A-Za-z0-9_-]{1,64}$/;
export const TENANT_RULE = 'must be 1 to 64 of A-Z, a-z, 0-9, _ and -';

export function isTenant(text: string): boolean {
  return TENANT.test(text);
}

/** The tenant of the caller, by `X-Tenant-Id`; undefined where there is none. @throws Refusal invalid_request */
export function callerTenant(req: IncomingMessage): string | undefined {
  const given = req.headers['x-tenant-id'];
  if (given === undefined) return undefined;
  // Sent twice, Node joins the two with a comma: no tenant either.
  if (typeof given !== 'string' || !isTenant(given)) throw invalid('X-Tenant-Id', TENANT_RULE);
  return given;
}
