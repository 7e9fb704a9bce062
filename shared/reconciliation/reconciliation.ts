import type { Redis } from 'ioredis';
import { z } from 'zod';
import type { Keys } from '../keys.js';

const differenceSchema = z.object({
  tenant: z.string(),
  customer: z.string(),
  /** ISO. */
  windowStart: z.string(),
  /**
   * `calls`, `tokens`, …; `endpoints <name> calls`; `row`: the raw events have no window, `revision`: an old one
   * (`closed` 0, `raw` how many events it should know of); `document`: it cannot be read.
   */
  field: z.string(),
  /** What the window in Redis says. */
  hot: z.number().optional(),
  /** What the window in Postgres says. */
  closed: z.number().optional(),
  /** What the raw events in Postgres add up to. */
  raw: z.number().optional(),
});

const reconciliationSchema = z.object({
  /** When it began, ISO. */
  at: z.string(),
  /** Windows of which at least one sum was compared with the raw events. */
  comparedWindows: z.number(),
  /** Windows in Redis with events that Postgres did not have yet: their turn comes. */
  pending: z.number(),
  /** Windows that there was no time for; of what was not even looked through at least one. */
  leftOut: z.number(),
  /** How far the events that were looked through are behind the archive, in the partition that is furthest behind. */
  lagSeconds: z.number(),
  /** Windows older than the raw events that are kept: nothing to compare with. */
  outside: z.number(),
  /** Windows that disagree. */
  drifted: z.number(),
  /** How they disagree: the first ones. */
  drift: z.array(differenceSchema),
});

/** One value of one window on which two of the three (hot, closed, raw) disagree. */
export type Difference = Readonly<z.infer<typeof differenceSchema>>;
/** What one comparison of hot windows, closed windows and raw events has found. */
export type Reconciliation = Readonly<z.infer<typeof reconciliationSchema>>;

const RESULT = 'result';

/** The last one of the fleet; undefined: there was none yet, or it was written by another version. */
export async function readReconciliation(redis: Redis, keys: Keys): Promise<Reconciliation | undefined> {
  const text = await redis.hget(keys.reconciliation, RESULT);
  return text === null ? undefined : reconciliationSchema.safeParse(JSON.parse(text)).data;
}

export async function writeReconciliation(redis: Redis, keys: Keys, result: Reconciliation): Promise<void> {
  await redis.hset(keys.reconciliation, RESULT, JSON.stringify(result));
}
