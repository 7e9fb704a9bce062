import {
  type BudgetConfig,
  DEFAULT_BUDGETS,
  type LevelConfig,
  MILLION,
  type Priority,
} from '../../shared/state/budget-config.js';
import type { BudgetState } from '../../shared/state/budget-state.js';

/** A threshold in tokens for each priority. */
type ByPriority = Readonly<Record<Priority, number>>;

/** One level of the tree; what is used plus what is asked for may reach a threshold, not exceed it. */
export interface Level {
  readonly config: LevelConfig;
  readonly name: string;
  /** Beyond it a grant is degraded; Infinity for P0. */
  readonly degradesAbove: ByPriority;
  readonly refusesAbove: ByPriority;
}

/** From the root to a pipeline. */
export interface Path {
  readonly names: readonly string[];
  readonly levels: readonly Level[];
  /** The largest estimate that can be admitted when nothing is used. */
  readonly largest: ByPriority;
}

/** A configuration as decisions use it. Made once for each configuration. */
export interface Tree {
  readonly root: Path;
  /** Largest estimate of one request, in tokens. */
  readonly share: number;
  /** By the name of the pipeline; the root is none. */
  readonly paths: ReadonlyMap<string, Path>;
  readonly levels: ReadonlyMap<string, Level>;
  /** Names of pipelines, for those who ask for one that does not exist. */
  readonly pipelines: readonly string[];
}

/** Thresholds of a level in tokens; P2's are those that apply. */
export interface Caps {
  readonly soft: number;
  readonly hard: number;
  readonly p2Soft: number;
  readonly p2Hard: number;
  readonly p0: number;
}

const PIPELINES_MAX = 50;
const trees = new WeakMap<BudgetConfig, Tree>();

/** What a tenant is decided by. */
export function configOf(state: BudgetState | null): BudgetConfig {
  return state?.config ?? DEFAULT_BUDGETS;
}

/** @throws for a configuration that is no tree */
export function treeOf(config: BudgetConfig): Tree {
  let tree = trees.get(config);
  if (tree === undefined) {
    tree = compile(config);
    trees.set(config, tree);
  }
  return tree;
}

/** undefined: no such level. */
export function capsOf(config: BudgetConfig, levelName: string): Caps | undefined {
  const level = treeOf(config).levels.get(levelName);
  if (level === undefined) return undefined;
  const { degradesAbove, refusesAbove } = level;
  return {
    soft: degradesAbove.P1,
    hard: refusesAbove.P1,
    p2Soft: degradesAbove.P2,
    p2Hard: refusesAbove.P2,
    p0: refusesAbove.P0,
  };
}

/** The levels that a pipeline's requests are debited at, the root first; undefined: no such pipeline. */
export function pathOf(config: BudgetConfig, pipeline: string): LevelConfig[] | undefined {
  return treeOf(config)
    .paths.get(pipeline)
    ?.levels.map((level) => level.config);
}

/** Largest estimate of one request, in tokens, whatever its pipeline and priority. */
export function largestRequest(config: BudgetConfig): number {
  return treeOf(config).share;
}

/** `amount` × `millionths`, rounded down, exactly. */
function share(amount: number, millionths: number): number {
  return Number((BigInt(amount) * BigInt(millionths)) / BigInt(MILLION));
}

function compile(config: BudgetConfig): Tree {
  const [first] = config.levels;
  if (first === undefined || first.parent !== null) throw new Error('the first level is not a root');
  const shareMax = share(first.limit, config.maxRequestShare);
  const levels = new Map<string, Level>();
  const all = new Map<string, Path>();
  for (const each of config.levels) {
    if (levels.has(each.name)) throw new Error(`two levels are called ${each.name}`);
    const above = each.parent === null ? undefined : all.get(each.parent);
    if (above === undefined && each !== first) throw new Error(`${each.name} comes before its parent`);
    const level = levelOf(each);
    const { refusesAbove } = level;
    const largest = above?.largest ?? { P0: shareMax, P1: shareMax, P2: shareMax };
    levels.set(each.name, level);
    all.set(each.name, {
      names: [...(above?.names ?? []), each.name],
      levels: [...(above?.levels ?? []), level],
      largest: {
        P0: Math.min(largest.P0, refusesAbove.P0),
        P1: Math.min(largest.P1, refusesAbove.P1),
        P2: Math.min(largest.P2, refusesAbove.P2),
      },
    });
  }
  const root = all.get(first.name)!;
  all.delete(first.name);
  return { root, share: shareMax, paths: all, levels, pipelines: [...all.keys()].slice(0, PIPELINES_MAX) };
}

function levelOf(config: LevelConfig): Level {
  const { name, limit, soft, hard, p2Soft, p2Hard, p0 } = config;
  return {
    config,
    name,
    degradesAbove: { P0: Infinity, P1: share(limit, soft), P2: share(limit, p2Soft ?? soft) },
    refusesAbove: { P0: share(limit, p0), P1: share(limit, hard), P2: share(limit, p2Hard ?? hard) },
  };
}
