import type { TooLarge } from '../../shared/messages/admissions.js';
import { MILLION, type Priority } from '../../shared/state/budget-config.js';
import type { BudgetWindow } from '../../shared/state/budget-state.js';
import type { Level, Path, Tree } from './levels.js';

/** What a request asks for, and where. */
export interface Asked {
  readonly priority: Priority;
  /** Tokens. */
  readonly estimated: number;
}

export type Verdict = 'ALLOW' | 'ALLOW_DEGRADED' | Level;

/** Why a request can never be admitted, whatever is used; undefined: it can. */
export function tooLarge(tree: Tree, path: Path, { priority, estimated }: Asked): TooLarge | undefined {
  const tokensMax = path.largest[priority];
  if (estimated <= tokensMax) return undefined;
  if (estimated > tree.share) return { level: path.levels[0]!.name, tokensMax };
  const level = path.levels.find(({ refusesAbove }) => estimated > refusesAbove[priority])!;
  return { level: level.name, tokensMax };
}

/** ALLOW, ALLOW_DEGRADED, or the level that refuses: of several the one nearest to the root. */
export function decide(path: Path, window: BudgetWindow, { priority, estimated }: Asked): Verdict {
  let degraded = false;
  for (const level of path.levels) {
    const after = usedOf(window, level.name) + estimated;
    if (after > level.refusesAbove[priority]) return level;
    if (after > level.degradesAbove[priority]) degraded = true;
  }
  return degraded ? 'ALLOW_DEGRADED' : 'ALLOW';
}

/** Tokens that a level would still admit. */
export function availableAt(level: Level, window: BudgetWindow | null, priority: Priority): number {
  return Math.max(0, level.refusesAbove[priority] - usedOf(window, level.name));
}

/**
 * What a degraded grant debits: `estimated` × `millionths`, rounded up. Exact: no intermediate result exceeds 10^12
 * while the estimate does not exceed the largest limit.
 */
export function degradedDebit(estimated: number, millionths: number): number {
  const millions = Math.floor(estimated / MILLION);
  return millions * millionths + Math.ceil(((estimated % MILLION) * millionths) / MILLION);
}

function usedOf(window: BudgetWindow | null, level: string): number {
  const use = window?.levels.get(level);
  return use === undefined ? 0 : use.settled + use.held;
}
