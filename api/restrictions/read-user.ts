import type { Redis } from 'ioredis';
import { Script } from '../../shared/redis/script.js';
import { classifyRedisError } from '../../shared/redis/store-unavailable.js';
import { decodeUser } from '../../shared/state/state-codec.js';
import { NEW_USER, type UserState } from '../../shared/state/user-state.js';

const script = new Script(import.meta.url, 'read-user.lua');

/** A user as the workers left it, and Redis' time then: an end that has come may not be folded yet. */
export interface UserNow {
  readonly user: UserState;
  /** ms. */
  readonly at: number;
}

/** @throws StoreUnavailable, NewerDocumentError (rejects) */
export async function readUser(redis: Redis, key: string): Promise<UserNow> {
  const [text, at] = (await script.run(redis, [key], []).catch((error: unknown) => {
    throw classifyRedisError(error);
  })) as [string | null, number];
  return { user: text === null ? NEW_USER : decodeUser(text), at };
}
