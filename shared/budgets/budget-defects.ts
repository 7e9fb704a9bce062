import {
  BUDGET_WINDOW_MS_MAX,
  DEPTH_MAX,
  LEVEL_NAME,
  LEVELS_MAX,
  LIMIT_MAX,
} from '../state/budget-config.js';
import { type BudgetsDocument, isMillionths, type LevelDocument } from './budgets-document.js';

/** What is wrong with budgets, in the words of the API: "<path> <message>". */
export interface BudgetDefect {
  /** `levels.3.limit` */
  readonly path: string;
  readonly message: string;
}

/** Largest threshold: ten times the limit. Who writes 85 means 0.85. */
export const THRESHOLD_MAX = 10;

const SECONDS_MAX = BUDGET_WINDOW_MS_MAX / 1000;

/**
 * @param document of whatever shape where it was stored: what is no object or has no array of levels throws
 * @returns none: `budgetConfigOf` can read it
 */
export function budgetDefects(document: BudgetsDocument): readonly BudgetDefect[] {
  const { window_seconds: seconds, levels } = document;
  const defects = new Defects();
  if (seconds !== null && !isInteger(seconds, 1, SECONDS_MAX)) {
    defects.add('window_seconds', `must be a whole number from 1 to ${SECONDS_MAX}, or null`);
  }
  for (const name of ['max_request_share', 'degraded_debit'] as const) {
    if (document[name] === 0) defects.add(name, 'must be greater than 0');
    else defects.share(name, document[name], 1);
  }
  if (levels.length === 0 || levels.length > LEVELS_MAX) {
    defects.add('levels', `must be 1 to ${LEVELS_MAX} levels`);
    return defects.found;
  }
  for (const [i, level] of levels.entries()) checkLevel(`levels.${i}`, level, defects);
  checkTree(levels, defects);
  return defects.found;
}

class Defects {
  readonly found: BudgetDefect[] = [];

  add(path: string, message: string): void {
    this.found.push({ path, message });
  }

  /** @returns whether it is one */
  share(path: string, value: number, most: number): boolean {
    const right = value >= 0 && value <= most && isMillionths(value);
    if (!right) this.add(path, `must be a number from 0 to ${most} with at most 6 decimals`);
    return right;
  }
}

function checkLevel(path: string, level: LevelDocument, defects: Defects): void {
  if (typeof level.name !== 'string' || !LEVEL_NAME.test(level.name)) {
    defects.add(`${path}.name`, 'must be 1 to 64 letters, digits or _ . : -');
  }
  if (!isInteger(level.limit, 0, LIMIT_MAX)) {
    defects.add(`${path}.limit`, `must be a whole number from 0 to ${LIMIT_MAX}`);
  }
  const { p2_soft_threshold: p2Soft, p2_hard_threshold: p2Hard } = level;
  const given = [
    ['soft_threshold', level.soft_threshold],
    ['hard_threshold', level.hard_threshold],
    ['p0_threshold', level.p0_threshold],
    ...(p2Soft === undefined ? [] : ([['p2_soft_threshold', p2Soft]] as const)),
    ...(p2Hard === undefined ? [] : ([['p2_hard_threshold', p2Hard]] as const)),
  ] as const;
  const wrong = given.filter(([name, value]) => !defects.share(`${path}.${name}`, value, THRESHOLD_MAX));
  if (wrong.length > 0) return;
  const inOrder = (name: string, value: number, most: number, thanWhat: string): void => {
    if (value > most) defects.add(`${path}.${name}`, `must not be greater than ${thanWhat}`);
  };
  inOrder('soft_threshold', level.soft_threshold, level.hard_threshold, 'hard_threshold');
  inOrder('hard_threshold', level.hard_threshold, level.p0_threshold, 'p0_threshold');
  if (p2Soft !== undefined) {
    inOrder('p2_soft_threshold', p2Soft, level.soft_threshold, 'soft_threshold');
  }
  if (p2Hard !== undefined) {
    inOrder('p2_hard_threshold', p2Hard, level.hard_threshold, 'hard_threshold');
    const soft = p2Soft ?? level.soft_threshold;
    const what = p2Soft === undefined ? 'soft_threshold, which is that of P2 too' : 'p2_soft_threshold';
    if (p2Hard < soft) defects.add(`${path}.p2_hard_threshold`, `must not be less than ${what}`);
  }
}

function checkTree(levels: readonly LevelDocument[], defects: Defects): void {
  const byName = new Map<string, LevelDocument>();
  for (const [i, level] of levels.entries()) {
    if (byName.has(level.name)) defects.add(`levels.${i}.name`, 'must not be that of another level');
    else byName.set(level.name, level);
  }
  const roots = levels.filter(({ parent }) => parent === null).length;
  if (roots !== 1) defects.add('levels', `must have one root (a level whose parent is null), not ${roots}`);
  for (const [i, level] of levels.entries()) {
    const message = placeDefect(level, byName);
    if (message !== undefined) defects.add(`levels.${i}.parent`, message);
  }
}

/** What is wrong with the place of a level in the tree. */
function placeDefect(level: LevelDocument, byName: ReadonlyMap<string, LevelDocument>): string | undefined {
  if (level.parent !== null && !byName.has(level.parent)) return 'must be the name of a level';
  const seen = new Set<LevelDocument>();
  let at: LevelDocument | undefined = level;
  while (at !== undefined) {
    if (seen.has(at)) return 'must lead to the root, not round in a circle';
    seen.add(at);
    at = at.parent === null ? undefined : byName.get(at.parent);
  }
  return seen.size > DEPTH_MAX ? `must not make the tree deeper than ${DEPTH_MAX} levels` : undefined;
}

function isInteger(value: number, least: number, most: number): boolean {
  return Number.isSafeInteger(value) && value >= least && value <= most;
}
