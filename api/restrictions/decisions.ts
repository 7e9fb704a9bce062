import type { Redis } from 'ioredis';
import type { Feature } from '../../shared/messages/events.js';
import { classifyRedisError } from '../../shared/redis/store-unavailable.js';
import { deniedFeatures } from '../../shared/state/state-codec.js';
import { parseQuery, requiredId } from '../http/query.js';
import { sendJson } from '../http/respond.js';
import type { Handler, Resource } from '../http/routes.js';
import type { Slots } from '../slots.js';
import type { StoreGate } from '../store-gate.js';

export interface DecisionDependencies {
  readonly redis: Redis;
  readonly slots: Slots;
  readonly gate: StoreGate;
}

/** `GET /canmessage` and `/canpurchase`: one read of what the workers decided. */
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
    const document = await readDocument(redis, slots.userKey(userId));
    sendJson(req, res, 200, view(document === null || !deniedFeatures(document).includes(feature)));
  };
}

/** @throws StoreUnavailable (rejects) */
export function readDocument(redis: Redis, key: string): Promise<string | null> {
  return redis.get(key).catch(rethrowClassified);
}

function rethrowClassified(error: unknown): never {
  throw classifyRedisError(error);
}
