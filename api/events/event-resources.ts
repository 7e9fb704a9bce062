import type { Request, Response } from 'express';
import { appendRefusal } from '../append-refusal.js';
import { sendJson } from '../http/respond.js';
import type { Resource } from '../http/routes.js';
import type { EventDependencies } from './event-dependencies.js';
import { parseEvent } from './parse-event.js';
import { postBatch } from './post-batch.js';

export function eventResources(dependencies: EventDependencies): Resource[] {
  return [
    {
      path: '/event',
      methods: { post: (req, res) => postEvent(dependencies, req, res) },
      status: 202,
    },
    {
      path: '/events',
      methods: { post: (req, res) => postBatch(dependencies, req, res) },
      status: 202,
    },
  ];
}

async function postEvent(dependencies: EventDependencies, req: Request, res: Response): Promise<void> {
  const { bodies, appender, slots, sampler, gate } = dependencies;
  const message = parseEvent(await bodies.readJson(req), req.requestId);
  gate.pass();
  const slot = slots.ofUser(message.subject);
  const outcome = await appender.append(slot.keys, JSON.stringify(message));
  if (outcome.kind !== 'appended') throw appendRefusal(outcome, slot, sampler);
  sendJson(req, res, 202, { status: 'accepted', event_id: message.id });
}
