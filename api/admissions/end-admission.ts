import type { Request, Response } from 'express';
import { nanoid } from 'nanoid';
import {
  CANCEL,
  type CancelRequest,
  type EndReply,
  SETTLE,
  type SettleRequest,
} from '../../shared/messages/admissions.js';
import type { Message } from '../../shared/messages/message.js';
import { sendJson } from '../http/respond.js';
import { parseBody } from '../schema-defects.js';
import { sendCommand } from '../send-command.js';
import { admissionOver, admissionView, endsOtherwise, noRoom, unknownReply } from './admission-answers.js';
import { cancelSchema, settleSchema } from './admission-bodies.js';
import type { AdmissionDependencies } from './admission-dependencies.js';
import { type NamedAdmission, namedAdmission, unknownAdmission } from './named-admission.js';

/** `POST /admissions/{id}/settle` */
export async function settleAdmission(
  dependencies: AdmissionDependencies,
  req: Request,
  res: Response,
): Promise<void> {
  const named = namedAdmission(req);
  const { actual_tokens: actual } = parseBody(settleSchema, await dependencies.bodies.readJson(req));
  const data: SettleRequest = { admission: named.id, actual };
  return end(dependencies, req, res, named, SETTLE, data);
}

/** `POST /admissions/{id}/cancel` */
export async function cancelAdmission(
  dependencies: AdmissionDependencies,
  req: Request,
  res: Response,
): Promise<void> {
  const named = namedAdmission(req);
  parseBody(cancelSchema, await dependencies.bodies.readOptionalJson(req));
  const data: CancelRequest = { admission: named.id };
  return end(dependencies, req, res, named, CANCEL, data);
}

/** 200 once it has ended; 202 while no worker answers: it is in the stream and will. */
async function end(
  dependencies: AdmissionDependencies,
  req: Request,
  res: Response,
  { tenant, id }: NamedAdmission,
  type: string,
  data: SettleRequest | CancelRequest,
): Promise<void> {
  const { gate, slots, failOpen, keptMs } = dependencies;
  gate.pass();
  const slot = slots.ofTenant(tenant);
  const message: Message = { type, tenant, subject: tenant, id: nanoid(), data, request: req.requestId };
  const reply = (await sendCommand(dependencies, slot, message)) as EndReply | undefined;
  if (reply === undefined) return sendJson(req, res, 202, { status: 'accepted', admission_id: id });
  if (reply.kind === 'not_found') {
    const unknown = unknownAdmission(id, keptMs);
    const kept = unknown.code === 'undecided' ? reply.kept : undefined;
    const actual = 'actual' in data ? data.actual : null;
    if (kept !== undefined && kept.actual !== actual) throw endsOtherwise(id, kept.actual);
    // No promise, although it is kept: the process that is to report the beginning may be gone.
    throw unknown;
  }
  if (reply.kind === 'no_room') throw noRoom(reply.level);
  failOpen.decided(tenant, id);
  switch (reply.kind) {
    case 'ended':
      return sendJson(req, res, 200, admissionView(reply.admission, id));
    case 'over':
      throw admissionOver(reply.admission, id);
    default:
      throw unknownReply(reply);
  }
}
