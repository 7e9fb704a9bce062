import type { Request, Response } from 'express';
import type { BodyKind } from '../http/body.js';
import { sendJson } from '../http/respond.js';
import type { Resource } from '../http/routes.js';
import { idempotencyKey, requireSameId } from '../idempotency-key.js';
import type { IngestDependencies } from '../ingest/ingest-dependencies.js';
import { appendOne, type IngestMessage } from '../ingest/ingest-message.js';
import { postBatch } from '../ingest/post-batch.js';
import type { Slots } from '../slots.js';
import { eventIdOf, parseEvent } from './parse-event.js';

const BATCH_KINDS: readonly BodyKind[] = ['json', 'ndjson'];

export function eventResources(dependencies: IngestDependencies): Resource[] {
  return [
    {
      path: '/event',
      methods: { post: (req, res) => postEvent(dependencies, req, res) },
      status: 202,
    },
    {
      path: '/events',
      methods: { post: (req, res) => postEvents(dependencies, req, res) },
      status: 202,
    },
  ];
}

async function postEvent(dependencies: IngestDependencies, req: Request, res: Response): Promise<void> {
  const key = idempotencyKey(req);
  const body = await dependencies.bodies.readJson(req);
  const message = readEvent(dependencies.slots, body, req.requestId, key);
  requireSameId(key, message.id, 'event_id');
  await appendOne(dependencies, message);
  sendJson(req, res, 202, { status: 'accepted', event_id: message.id });
}

async function postEvents(dependencies: IngestDependencies, req: Request, res: Response): Promise<void> {
  const body = await dependencies.bodies.readText(req, BATCH_KINDS);
  const read = (item: unknown): IngestMessage => readEvent(dependencies.slots, item, req.requestId);
  return postBatch(dependencies, { idField: 'event_id', read, idOf: eventIdOf }, body, req, res);
}

/** @throws Refusal */
function readEvent(slots: Slots, value: unknown, requestId: string, id?: string): IngestMessage {
  const message = parseEvent(value, requestId, id);
  return { slot: slots.ofUser(message.subject), id: message.id, text: JSON.stringify(message) };
}
