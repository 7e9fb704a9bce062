import type { Redis } from 'ioredis';
import { budgetDocument } from '../../shared/keys.js';
import { classifyRedisError } from '../../shared/redis/store-unavailable.js';
import { decodeBudget } from '../../shared/state/budget-codec.js';
import { type BudgetConfig, DEFAULT_BUDGETS } from '../../shared/state/budget-config.js';
import type { BudgetWindow } from '../../shared/state/budget-state.js';
import type { Slots } from '../slots.js';

/** A tenant's budgets as they were at one moment. */
export interface BudgetNow {
  readonly config: BudgetConfig;
  /** The window that is open; null: none, or its timer is due. */
  readonly window: BudgetWindow | null;
  /** Redis' clock, ms: it alone says which window is open. */
  readonly nowMs: number;
}

/**
 * Reads what the workers keep of a tenant; the defaults where there is nothing. Both commands travel in one round trip,
 * the time first: a window that opened in between is one that is not over.
 * @throws StoreUnavailable, NewerDocumentError (rejects)
 */
export async function readBudget(redis: Redis, slots: Slots, tenant: string): Promise<BudgetNow> {
  const key = slots.ofTenant(tenant).keys.doc(budgetDocument(tenant));
  const [time, text] = await Promise.all([redis.time(), redis.get(key)]).catch((error: unknown) => {
    throw classifyRedisError(error);
  });
  const nowMs = Number(time[0]) * 1000 + Math.floor(Number(time[1]) / 1000);
  const state = text === null ? undefined : decodeBudget(text);
  const window = state?.window ?? null;
  return {
    config: state?.config ?? DEFAULT_BUDGETS,
    window: window !== null && window.end > nowMs ? window : null,
    nowMs,
  };
}
