import type { Request } from 'express';
import { ADMISSION_ID } from '../../shared/messages/admissions.js';
import { isYoung } from '../../shared/messages/given-minute.js';
import { DEFAULT_TENANT } from '../../shared/topics.js';
import { callerTenant } from '../caller-tenant.js';
import { Refusal } from '../refusal.js';

/** The admission that a path names. */
export interface NamedAdmission {
  readonly tenant: string;
  readonly id: string;
}

/** @throws Refusal admission_not_found for what cannot be an id; invalid_request for what cannot be a tenant */
export function namedAdmission(req: Request): NamedAdmission {
  const tenant = callerTenant(req) ?? DEFAULT_TENANT;
  const id = req.params['id'] as string;
  if (!ADMISSION_ID.test(id)) throw notFound();
  return { tenant, id };
}

/**
 * What was admitted undecided may still be on its way to the workers.
 * @param keptMs how long they know it at least
 */
export function unknownAdmission(id: string, keptMs: number): Refusal {
  if (!isYoung(id, Date.now(), keptMs)) return notFound();
  return new Refusal('undecided', 'The admission was made while nobody could decide; it is not known yet.', {
    members: { retryable: true, reason: 'unreported' },
  });
}

function notFound(): Refusal {
  return new Refusal('admission_not_found', 'There is no such admission, or it is no longer kept.', {
    members: { retryable: false },
  });
}
