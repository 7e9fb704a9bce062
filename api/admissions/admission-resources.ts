import type { Request, Response } from 'express';
import { ADMIT, type AdmitReply, EVALUATE, type EvaluateReply } from '../../shared/messages/admissions.js';
import { DEFAULT_TENANT } from '../../shared/topics.js';
import { callerTenant } from '../caller-tenant.js';
import { sendJson } from '../http/respond.js';
import type { Handler, Resource } from '../http/routes.js';
import { idempotencyKey, requireSameId } from '../idempotency-key.js';
import { parseBody } from '../schema-defects.js';
import * as answers from './admission-answers.js';
import { admitSchema, evaluateSchema } from './admission-bodies.js';
import type { AdmissionDependencies } from './admission-dependencies.js';
import { type AskedType, admissionId, requestKey } from './admission-key.js';
import { decide } from './decide.js';
import { cancelAdmission, settleAdmission } from './end-admission.js';
import type { AskedRequest } from './fail-open.js';
import { getAdmission } from './get-admission.js';

export function admissionResources(dependencies: AdmissionDependencies): Resource[] {
  const handle =
    (work: (dependencies: AdmissionDependencies, req: Request, res: Response) => Promise<void>): Handler =>
    (req, res) =>
      work(dependencies, req, res);
  return [
    { path: '/admissions', methods: { post: handle(postAdmission) }, status: 201 },
    { path: '/v1/evaluate', methods: { post: handle(postEvaluate) } },
    { path: '/admissions/:id/settle', methods: { post: handle(settleAdmission) } },
    { path: '/admissions/:id/cancel', methods: { post: handle(cancelAdmission) } },
    { path: '/admissions/:id', methods: { get: handle(getAdmission) } },
  ];
}

async function postAdmission(
  dependencies: AdmissionDependencies,
  req: Request,
  res: Response,
): Promise<void> {
  const tenant = callerTenant(req) ?? DEFAULT_TENANT;
  const key = idempotencyKey(req);
  const body = identified(parseBody(admitSchema, await dependencies.bodies.readJson(req)), key);
  const asked = askedRequest(dependencies, req, ADMIT, tenant, body);
  const verdict = await decide(dependencies, asked);
  if (verdict.kind === 'failed_open') {
    const { given, reason, fresh } = verdict;
    return sendJson(req, res, fresh ? 201 : 200, answers.givenView(asked, given, reason));
  }
  const reply = verdict.reply as AdmitReply;
  switch (reply.kind) {
    case 'admitted': {
      const view = answers.admissionView(reply.admission, verdict.admission);
      const remaining = answers.remainingView(reply.remaining);
      return sendJson(req, res, reply.fresh ? 201 : 200, { ...view, remaining });
    }
    case 'refused':
      throw answers.budgetExhausted(reply);
    case 'too_large':
      throw answers.requestTooLarge(reply);
    case 'over':
      throw answers.admissionOver(reply.admission, verdict.admission);
    case 'conflict':
      throw answers.conflict();
    case 'unknown_pipeline':
      throw answers.unknownPipeline(reply.pipelines);
    case 'unsound_budgets':
      throw answers.unsoundBudgets();
    default:
      throw answers.unknownReply(reply);
  }
}

async function postEvaluate(dependencies: AdmissionDependencies, req: Request, res: Response): Promise<void> {
  const tenant = callerTenant(req) ?? DEFAULT_TENANT;
  const key = idempotencyKey(req);
  const body = identified(parseBody(evaluateSchema, await dependencies.bodies.readJson(req)), key);
  const asked = askedRequest(dependencies, req, EVALUATE, tenant, body);
  const verdict = await decide(dependencies, asked);
  if (verdict.kind === 'failed_open') {
    const context = { granted_tokens: asked.data.estimated, ...answers.degradedContext(verdict.reason) };
    return sendJson(req, res, 200, { decision: 'ALLOW', context });
  }
  const reply = verdict.reply as EvaluateReply;
  switch (reply.kind) {
    case 'evaluated': {
      const context = {
        granted_tokens: reply.granted,
        remaining: answers.remainingView(reply.remaining),
        ...answers.refusedContext(reply.refused, reply.tooLarge),
      };
      return sendJson(req, res, 200, { decision: reply.decision, context });
    }
    case 'conflict':
      throw answers.conflict();
    case 'unknown_pipeline':
      throw answers.unknownPipeline(reply.pipelines);
    case 'unsound_budgets':
      throw answers.unsoundBudgets();
    default:
      throw answers.unknownReply(reply);
  }
}

interface AskedBody {
  readonly pipeline: string;
  readonly priority: AskedRequest['data']['priority'];
  readonly estimated_tokens: number;
  readonly request_id?: string | undefined;
  readonly payload?: unknown;
  readonly hold_seconds?: number | undefined;
}

/** The body with the id that the header says: as if it had been in the body. */
function identified(body: AskedBody, key: string | undefined): AskedBody {
  if (key === undefined) return body;
  const { request_id = key } = body;
  requireSameId(key, request_id, 'request_id');
  return { ...body, request_id };
}

function askedRequest(
  { slots, evaluateDedupeMs }: AdmissionDependencies,
  req: Request,
  type: AskedType,
  tenant: string,
  asked: AskedBody,
): AskedRequest {
  const { pipeline, priority, estimated_tokens: estimated, hold_seconds } = asked;
  const dedupeMs = type === EVALUATE ? evaluateDedupeMs : 0;
  const { key, keyed, body } = requestKey(type, asked, dedupeMs > 0);
  const fleeting = { keyed: true, fleeting: true, ...(dedupeMs > 0 ? { dedupeMs } : {}) } as const;
  return {
    ...{ type, tenant, slot: slots.ofTenant(tenant), repeatable: keyed, requestId: req.requestId },
    data: {
      ...{ pipeline, priority, estimated, admission: admissionId(key), body },
      // The workers keep nothing of what has no key. An evaluate that is answered undecided they must know again, or it
      // would be charged twice, or for nothing.
      ...(keyed || type !== EVALUATE ? { keyed } : fleeting),
      ...(hold_seconds === undefined ? {} : { holdMs: hold_seconds * 1000 }),
    },
  };
}
