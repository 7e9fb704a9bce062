import type { Redis } from 'ioredis';
import type { Feature } from '../../shared/messages/events.js';
import { classifyRedisError } from '../../shared/redis/store-unavailable.js';
import { isDeniedAtAnyTime } from '../../shared/state/state-codec.js';
import { isDenied } from '../../shared/state/user-state.js';
import { parseQuery, requiredId } from '../http/query.js';
import { sendJson } from '../http/respond.js';
import type { Handler, Resource } from '../http/routes.js';
import type { Slots } from '../slots.js';
import type { StoreGate } from '../store-gate.js';
import { readUser } from './read-user.js';

export interface DecisionDependencies {
  readonly redis: Redis;
  readonly slots: Slots;
  readonly gate: StoreGate;
}

/** `GET /canmessage` and `/canpurchase`: one read of what the workers decided, two where that ends by itself. */
export function decisionResources(dependencies: DecisionDependencies): Resource[] {
  return [
    {
      path: '/canmessage',
      methods: { get: decision(dependencies, 'message', (allowed) => ({ can_message: allowed })) },
    },
    {
      path: '/canpurchase',
      methods: { get: decision(dependencies, 'purchase', (allowed) => ({ can_purchase: allowed })) },
    },
  ];
}

/** An unknown user may do everything. */
function decision(
  { redis, slots, gate }: DecisionDependencies,
  feature: Feature,
  view: (allowed: boolean) => object,
): Handler {
  return async (req, res) => {
    const userId = requiredId(parseQuery(req.url), 'user_id');
    gate.pass();
    const key = slots.userKey(userId);
    const document = await redis.get(key).catch(rethrowClassified);
    const denied = document === null ? false : isDeniedAtAnyTime(document, feature);
    sendJson(req, res, 200, view(!(denied ?? (await isDeniedNow(redis, key, feature)))));
  };
}

/** By Redis' clock: a restriction, or an override, ends also while nobody folds its end. */
async function isDeniedNow(redis: Redis, key: string, feature: Feature): Promise<boolean> {
  const { user, at } = await readUser(redis, key);
  return isDenied(user, feature, at);
}

function rethrowClassified(error: unknown): never {
  throw classifyRedisError(error);
}
