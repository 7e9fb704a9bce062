import type { Request, Response } from 'express';
import type { Redis } from 'ioredis';
import { nanoid } from 'nanoid';
import { z } from 'zod';
import type { OverrideDelete, OverridePut } from '../../shared/messages/commands.js';
import { FEATURES, type Feature } from '../../shared/messages/events.js';
import type { Message } from '../../shared/messages/message.js';
import type { BodyReader } from '../http/body.js';
import { checkedId } from '../http/query.js';
import { sendJson } from '../http/respond.js';
import type { Resource } from '../http/routes.js';
import { actorSchema, reasonSchema } from '../person-schemas.js';
import { invalid, Refusal } from '../refusal.js';
import { parseBody } from '../schema-defects.js';
import { type CommandDependencies, sendCommand } from '../send-command.js';
import type { Slots } from '../slots.js';
import type { StoreGate } from '../store-gate.js';
import { readUser } from './read-user.js';
import { isoTimeOrNull, userView } from './user-view.js';

export interface UserDependencies extends CommandDependencies {
  readonly redis: Redis;
  readonly slots: Slots;
  readonly gate: StoreGate;
  readonly bodies: BodyReader;
}

const overrideSchema = z.strictObject({
  allow: z.boolean(),
  reason: reasonSchema,
  actor: actorSchema,
  expires_at: z.iso
    .datetime({ offset: true, error: 'must be an ISO 8601 time with Z or an offset' })
    .nullish(),
});

export function userResources(dependencies: UserDependencies): Resource[] {
  return [
    {
      path: '/users/:user_id/restrictions',
      methods: { get: (req, res) => getRestrictions(dependencies, req, res) },
    },
    {
      path: '/users/:user_id/overrides/:feature',
      methods: {
        put: (req, res) => putOverride(dependencies, req, res),
        delete: (req, res) => deleteOverride(dependencies, req, res),
      },
    },
  ];
}

async function getRestrictions(dependencies: UserDependencies, req: Request, res: Response): Promise<void> {
  const { redis, slots, gate } = dependencies;
  const userId = userIdOf(req);
  gate.pass();
  sendJson(req, res, 200, userView(userId, await readUser(redis, slots.userKey(userId))));
}

async function putOverride(dependencies: UserDependencies, req: Request, res: Response): Promise<void> {
  const userId = userIdOf(req);
  const feature = featureOf(req);
  const { allow, reason, actor, expires_at } = parseBody(
    overrideSchema,
    await dependencies.bodies.readJson(req),
  );
  const expiresAt = expires_at === undefined || expires_at === null ? undefined : Date.parse(expires_at);
  if (expiresAt !== undefined && !(expiresAt > Date.now()))
    throw invalid('expires_at', 'must be in the future');
  const data: OverridePut = {
    feature,
    allow,
    reason,
    actor,
    ...(expiresAt === undefined ? {} : { expires_at: expiresAt }),
  };
  const reply = await send(dependencies, req, userId, 'override_put', data);
  if (reply === undefined) return sendJson(req, res, 202, { status: 'accepted' });
  sendJson(req, res, 200, {
    status: 'applied',
    user_id: userId,
    ...{ feature, allow, reason, actor, expires_at: isoTimeOrNull(expiresAt) },
  });
}

async function deleteOverride(dependencies: UserDependencies, req: Request, res: Response): Promise<void> {
  const userId = userIdOf(req);
  const feature = featureOf(req);
  const data: OverrideDelete = { feature };
  const reply = await send(dependencies, req, userId, 'override_delete', data);
  if (reply === undefined) return sendJson(req, res, 202, { status: 'accepted' });
  const { existed } = reply as { readonly existed?: unknown };
  sendJson(req, res, 200, { status: 'applied', user_id: userId, feature, existed: existed === true });
}

function send(
  dependencies: UserDependencies,
  req: Request,
  userId: string,
  type: string,
  data: object,
): Promise<unknown> {
  dependencies.gate.pass();
  const message: Message = { type, subject: userId, id: nanoid(), data, request: req.requestId };
  return sendCommand(dependencies, dependencies.slots.ofUser(userId), message);
}

function userIdOf(req: Request): string {
  return checkedId(req.params['user_id'] as string, 'user_id');
}

function featureOf(req: Request): Feature {
  const feature = FEATURES.find((known) => known === req.params['feature']);
  if (feature !== undefined) return feature;
  throw new Refusal('unknown_feature', `There is no feature of this name. Known: ${FEATURES.join(', ')}.`, {
    errors: [{ path: 'feature', message: 'is not a known feature' }],
    members: { known: FEATURES },
  });
}
