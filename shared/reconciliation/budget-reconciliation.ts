import type { Redis } from 'ioredis';
import { z } from 'zod';
import type { Keys } from '../keys.js';

const differenceSchema = z.object({
  tenant: z.string(),
  /** Start, ISO; absent: it is about no window. */
  window: z.string().optional(),
  /** Absent: it is about all of the window. */
  level: z.string().optional(),
  /** Absent: it is about no admission. */
  admission: z.string().optional(),
  /** What disagrees with the ledger: documents in Redis, ended windows in Postgres; `ledger`: the ledger with itself. */
  place: z.enum(['redis', 'postgres', 'ledger']),
  /**
   * `settled`, `held`: tokens; `entries`: how many of the window there are; `row`: the window has ended and Postgres
   * has none, `revision`: an old one (both count entries); `seq`: numbers are missing or twice, from `expected` on;
   * `document`: it cannot be read; `stuck hold`, `stuck window`: it is open, and no timer will end it in time.
   */
  field: z.enum([
    'settled',
    'held',
    'entries',
    'row',
    'revision',
    'seq',
    'document',
    'stuck hold',
    'stuck window',
  ]),
  /** What the ledger adds up to; of what is stuck: when it is to end, ms. */
  expected: z.number(),
  /** What the document or the row says; of what is stuck: when its timer is due, ms; 0: there is none. */
  found: z.number(),
});

const reconciliationSchema = z.object({
  /** When it began, ISO. */
  at: z.string(),
  /** Windows of which at least one side was compared with the ledger. */
  comparedWindows: z.number(),
  /** Held admissions that were compared with the ledger. */
  comparedHolds: z.number(),
  /** Windows and holds of which Redis knew more than Postgres when they were looked at: their turn comes. */
  behind: z.number(),
  /** Windows that there was no time for; of what was not even looked through at least one. */
  leftOut: z.number(),
  /** Windows older than the ledger that is kept. */
  outside: z.number(),
  /** Windows that Redis lost before they had ended. */
  lost: z.number(),
  /** Windows, tenants' ledgers and holds that disagree. */
  drifted: z.number(),
  /** How they disagree: the first ones. */
  drift: z.array(differenceSchema),
});

/** One value on which a document in Redis or a window in Postgres disagrees with the ledger. */
export type BudgetDifference = Readonly<z.infer<typeof differenceSchema>>;
/** What one comparison of budgets with their ledger has found. */
export type BudgetReconciliation = Readonly<z.infer<typeof reconciliationSchema>>;

const RESULT = 'budgets';

/** The last one of the fleet; undefined: there was none yet, or it was written by another version. */
export async function readBudgetReconciliation(
  redis: Redis,
  keys: Keys,
): Promise<BudgetReconciliation | undefined> {
  const text = await redis.hget(keys.reconciliation, RESULT);
  return text === null ? undefined : reconciliationSchema.safeParse(JSON.parse(text)).data;
}

export async function writeBudgetReconciliation(
  redis: Redis,
  keys: Keys,
  result: BudgetReconciliation,
): Promise<void> {
  await redis.hset(keys.reconciliation, RESULT, JSON.stringify(result));
}
