import type { Request, Response } from 'express';
import { findAdmission } from '../../rules/budgets.js';
import { admissionDocument } from '../../shared/keys.js';
import { admissionKey } from '../../shared/messages/admissions.js';
import { classifyRedisError } from '../../shared/redis/store-unavailable.js';
import { decodeAdmissions } from '../../shared/state/budget-codec.js';
import { sendJson } from '../http/respond.js';
import { admissionView } from './admission-answers.js';
import type { AdmissionDependencies } from './admission-dependencies.js';
import { namedAdmission, unknownAdmission } from './named-admission.js';

/** `GET /admissions/{id}`: what the workers keep of it. One that was refused never was an admission. */
export async function getAdmission(
  { redis, gate, slots, failOpen, keptMs }: AdmissionDependencies,
  req: Request,
  res: Response,
): Promise<void> {
  const { tenant, id } = namedAdmission(req);
  gate.pass();
  const slot = slots.ofTenant(tenant);
  const key = slot.keys.doc(admissionDocument(tenant, admissionKey(id)));
  const [[seconds], text] = await Promise.all([redis.time(), redis.get(key)]).catch((error: unknown) => {
    throw classifyRedisError(error);
  });
  const admission =
    text === null ? undefined : findAdmission(decodeAdmissions(text), id, Number(seconds) * 1000);
  if (admission === undefined || admission.status === 'refused') throw unknownAdmission(id, keptMs);
  failOpen.decided(tenant, id);
  sendJson(req, res, 200, admissionView(admission, id));
}
