import { nextBoundary, windowLength } from '../../rules/budgets/window.js';
import { capsOf, largestRequest } from '../../rules/budgets.js';
import { budgetsDocument } from '../../shared/budgets/budgets-document.js';
import type { BudgetConfig, LevelConfig } from '../../shared/state/budget-config.js';
import type { LevelUse } from '../../shared/state/budget-state.js';
import { isoTime, isoTimeOrNull } from '../restrictions/user-view.js';
import type { BudgetNow } from './read-budget.js';

const UNUSED: Readonly<LevelUse> = { settled: 0, held: 0, admitted: 0, degraded: 0, refused: 0, limit: null };

/**
 * The answer of `GET /budget`: tokens, whole numbers all of them.
 * @param levels those to show
 * @param windowMs length of a window where the tenant has none of its own
 */
export function budgetView(
  tenant: string,
  { config, window, nowMs }: BudgetNow,
  levels: readonly LevelConfig[],
  windowMs: number,
): object {
  const length = windowLength(config, { windowMs });
  return {
    tenant,
    version: config.version,
    window: {
      seconds: length / 1000,
      // null: nobody has asked since the last one ended. The next request opens one that ends at the same time.
      started_at: isoTimeOrNull(window?.start),
      resets_at: isoTime(window?.end ?? nextBoundary(nowMs, length)),
    },
    as_of: isoTime(nowMs),
    max_request_tokens: largestRequest(config),
    levels: levels.map((level) => levelView(config, level, window?.levels.get(level.name) ?? UNUSED)),
  };
}

function levelView(config: BudgetConfig, level: LevelConfig, use: Readonly<LevelUse>): object {
  const { name, parent, limit, p2Soft, p2Hard } = level;
  const caps = capsOf(config, name)!;
  const { settled, held, admitted, degraded, refused } = use;
  const left = (cap: number): number => Math.max(0, cap - settled - held);
  return {
    ...{ name, parent, limit, settled, held },
    // Of this level alone: a request needs room at every level of its path.
    available: { P0: left(caps.p0), P1: left(caps.hard), P2: left(caps.p2Hard) },
    soft_limit: caps.soft,
    hard_limit: caps.hard,
    ...(p2Soft === null ? {} : { p2_soft_limit: caps.p2Soft }),
    ...(p2Hard === null ? {} : { p2_hard_limit: caps.p2Hard }),
    p0_limit: caps.p0,
    requests: { admitted, degraded, refused },
  };
}

/** The answer of `GET /budgets`: as people write it, and as `PUT /budgets` takes it. */
export function budgetsView(tenant: string, config: BudgetConfig): object {
  return {
    tenant,
    version: config.version,
    applied_at: appliedAtView(config.appliedAt),
    ...budgetsDocument(config),
  };
}

/** null: nobody applied them, they are the defaults. */
export function appliedAtView(appliedAt: number): string | null {
  return appliedAt === 0 ? null : isoTime(appliedAt);
}
