import type { Redis } from 'ioredis';
import { z } from 'zod';
import type { Keys } from '../../shared/keys.js';
import type { Verified } from './recent-spans.js';
import type { WindowKey } from './window-key.js';

/** Windows that disagreed and are looked at again in every run, until they agree. */
const SUSPECTS_MAX = 1000;
const STATE = 'state';

const passSchema = z.object({
  ms: z.number(),
  row: z.object({ start: z.number(), id: z.number() }),
  begun: z
    .object({ ms: z.number(), stream: z.string(), outbox: z.string(), unproven: z.boolean() })
    .optional(),
});

const stateSchema = z.object({
  v: z.literal(1),
  verified: z.array(
    z.tuple([
      z.number(),
      z.object({
        ...{ ms: z.number(), stream: z.string(), outbox: z.string(), calm: z.boolean() },
        again: passSchema.optional(),
      }),
    ]),
  ),
  suspects: z.array(
    z.object({
      tenant: z.string(),
      customer: z.string(),
      customerId: z.number().nullable(),
      partition: z.number(),
      start: z.number(),
    }),
  ),
});

/** What one run tells the next, whichever worker has it. */
export interface RecentState {
  /** By partition. */
  readonly verified: ReadonlyMap<number, Verified>;
  readonly suspects: readonly WindowKey[];
}

/** Where there is none, or one of another version, the next run begins anew. */
export async function readState(redis: Redis, keys: Keys): Promise<RecentState> {
  const text = await redis.hget(keys.reconciliation, STATE);
  const parsed = text === null ? undefined : stateSchema.safeParse(JSON.parse(text)).data;
  return { verified: new Map(parsed?.verified), suspects: parsed?.suspects ?? [] };
}

export async function writeState(redis: Redis, keys: Keys, state: RecentState): Promise<void> {
  const stored: z.infer<typeof stateSchema> = {
    v: 1,
    verified: [...state.verified],
    suspects: state.suspects.slice(0, SUSPECTS_MAX),
  };
  await redis.hset(keys.reconciliation, STATE, JSON.stringify(stored));
}
