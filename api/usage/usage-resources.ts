import type { Request, Response } from 'express';
import { callerTenant } from '../caller-tenant.js';
import { type BodyKind, parseJson } from '../http/body.js';
import { sendJson } from '../http/respond.js';
import type { Resource } from '../http/routes.js';
import { idempotencyKey, requireSameId } from '../idempotency-key.js';
import type { IngestDependencies } from '../ingest/ingest-dependencies.js';
import { appendOne, type IngestMessage } from '../ingest/ingest-message.js';
import { type BatchFormat, postBatch } from '../ingest/post-batch.js';
import { binaryCloudEvent, cloudEventIdOf, isBinaryCloudEvent, readCloudEvent } from './cloud-event.js';
import { NO_ENVELOPE, type UsageCall, UsageReader, usageIdOf } from './usage-reader.js';

export interface UsageDependencies extends IngestDependencies {
  /** Events older than this are refused, in days. */
  readonly retentionDays: number;
}

/** A batch of CloudEvents has a content type of its own, so that it is told apart on either path. */
const ON_USAGE: readonly BodyKind[] = ['json', 'cloudevent', 'cloudevent-batch'];
const ON_BATCH: readonly BodyKind[] = ['json', 'ndjson', 'cloudevent-batch'];

const DAY_MS = 86_400_000;

export function usageResources(dependencies: UsageDependencies): Resource[] {
  const ingest = new UsageIngest(dependencies);
  return [
    { path: '/usage/batch', methods: { post: (req, res) => ingest.postBatch(req, res) }, status: 202 },
    { path: '/usage', methods: { post: (req, res) => ingest.post(req, res) }, status: 202 },
  ];
}

class UsageIngest {
  private readonly reader: UsageReader;

  constructor(private readonly dependencies: UsageDependencies) {
    this.reader = new UsageReader(dependencies.slots, dependencies.retentionDays * DAY_MS);
  }

  async post(req: Request, res: Response): Promise<void> {
    const tenant = callerTenant(req);
    const key = idempotencyKey(req);
    const { kind, text } = await this.dependencies.bodies.readText(req, ON_USAGE);
    const call: UsageCall = { tenant, nowMs: Date.now(), request: req.requestId };
    if (kind === 'cloudevent-batch') return this.takeBatch({ kind, text }, tenant, req, res);
    const message = this.readOne(kind, parseJson(text), call, req, key);
    requireSameId(key, message.id, 'eventId');
    await appendOne(this.dependencies, message);
    sendJson(req, res, 202, { status: 'accepted', eventId: message.id });
  }

  async postBatch(req: Request, res: Response): Promise<void> {
    const tenant = callerTenant(req);
    return this.takeBatch(await this.dependencies.bodies.readText(req, ON_BATCH), tenant, req, res);
  }

  private readOne(
    kind: BodyKind,
    value: unknown,
    call: UsageCall,
    req: Request,
    key: string | undefined,
  ): IngestMessage {
    if (kind === 'cloudevent') return readCloudEvent(this.reader, value, call);
    if (!isBinaryCloudEvent(req.headers)) {
      return this.reader.read(
        value,
        call,
        key === undefined ? NO_ENVELOPE : { ...NO_ENVELOPE, eventId: key },
      );
    }
    return readCloudEvent(this.reader, binaryCloudEvent(req.headersDistinct, value), call);
  }

  private takeBatch(
    body: { readonly kind: BodyKind; readonly text: string },
    tenant: string | undefined,
    req: Request,
    res: Response,
  ): Promise<void> {
    const { reader } = this;
    const call: UsageCall = { tenant, nowMs: Date.now() };
    const format: BatchFormat =
      body.kind === 'cloudevent-batch'
        ? { idField: 'eventId', read: (item) => readCloudEvent(reader, item, call), idOf: cloudEventIdOf }
        : { idField: 'eventId', read: (item) => reader.read(item, call), idOf: usageIdOf };
    return postBatch(this.dependencies, format, body, req, res);
  }
}
