import type { Redis } from 'ioredis';
import { z } from 'zod';
import type { Keys } from '../../../shared/keys.js';

const STATE = 'budgets-state';

const stateSchema = z.object({
  v: z.literal(1),
  tenants: z.array(
    z.object({
      tenant: z.string(),
      epoch: z.number(),
      seq: z.number(),
      since: z.number(),
      again: z.array(z.number()),
    }),
  ),
  cursor: z.string(),
});

/** What one run tells the next of a tenant. */
export interface TenantState {
  readonly tenant: string;
  /** The ledger that Redis had. */
  readonly epoch: number;
  /** Its last entry then. */
  readonly seq: number;
  /** Windows that begin at this or before are done, but for those of `again`; ms. */
  readonly since: number;
  /** Starts of windows that were in Redis, behind, left out or disagreed, ms. */
  readonly again: readonly number[];
}

export interface RecentBudgetState {
  readonly tenants: ReadonlyMap<string, TenantState>;
  /** The tenant that the last run ended with; empty: it came to the end. */
  readonly cursor: string;
}

export const NEW_STATE: RecentBudgetState = { tenants: new Map(), cursor: '' };

/** Where there is none, or one of another version, the next run begins anew. */
export async function readBudgetState(redis: Redis, keys: Keys): Promise<RecentBudgetState> {
  const text = await redis.hget(keys.reconciliation, STATE);
  const parsed = text === null ? undefined : stateSchema.safeParse(JSON.parse(text)).data;
  if (parsed === undefined) return NEW_STATE;
  return { tenants: new Map(parsed.tenants.map((each) => [each.tenant, each])), cursor: parsed.cursor };
}

export async function writeBudgetState(
  redis: Redis,
  keys: Keys,
  { tenants, cursor }: RecentBudgetState,
): Promise<void> {
  const stored = { v: 1, tenants: [...tenants.values()], cursor };
  await redis.hset(keys.reconciliation, STATE, JSON.stringify(stored));
}
