import type { BudgetSnapshot } from '../../shared/messages/budget-emissions.js';
import type { BudgetConfig } from '../../shared/state/budget-config.js';
import type { BudgetState, BudgetWindow, LevelUse, PastWindow } from '../../shared/state/budget-state.js';
import { treeOf } from './levels.js';

/** Length of a window, ms. */
export function windowLength(config: BudgetConfig, { windowMs }: { readonly windowMs: number }): number {
  return config.windowMs ?? windowMs;
}

/** The first boundary of windows of this length after `at`, ms since the epoch. */
export function nextBoundary(at: number, windowMs: number): number {
  return (Math.floor(at / windowMs) + 1) * windowMs;
}

/** The window that `at` lies in, with nothing used. It begins no earlier than the last one ended. */
export function newWindow(at: number, windowMs: number, lastEnd: number): BudgetWindow {
  const end = nextBoundary(at, windowMs);
  return {
    start: Math.max(end - windowMs, lastEnd),
    end,
    levels: new Map(),
    holds: 0,
    refundable: 0,
    entries: 0,
  };
}

/** The document itself where this step may change it, otherwise a copy of all that changes. */
export function draftOfState(state: BudgetState, step: object): BudgetState {
  return state.owner === step ? state : copyOfState(state, step);
}

export function copyOfState(state: BudgetState, step: object): BudgetState {
  const { window } = state;
  return {
    ...state,
    owner: step,
    window: window === null ? null : { ...window, levels: copyOfLevels(window.levels) },
  };
}

export function draftOfPast(window: PastWindow, step: object): PastWindow {
  if (window.owner === step) return window;
  return { ...window, owner: step, levels: copyOfLevels(window.levels) };
}

/** A window that is over takes what was used with it, and the limits it ended with. `window`: not needed any more. */
export function pastWindow(window: BudgetWindow, config: BudgetConfig, step: object): PastWindow {
  const { levels } = treeOf(config);
  for (const [name, use] of window.levels) use.limit = levels.get(name)?.config.limit ?? null;
  return { ...window, owner: step, version: config.version, revision: 0, keepUntil: null };
}

export function snapshotOf(window: PastWindow, tenant: string, epoch: number): BudgetSnapshot {
  const { start, end, revision, version, entries } = window;
  const levels = [...window.levels].map(([name, { limit, settled, admitted, degraded, refused }]) => ({
    name,
    limit,
    settled,
    admitted,
    degraded,
    refused,
  }));
  return { tenant, epoch, start, end, revision, version, entries, levels };
}

/** The use of a level, begun where there is none. */
export function useOf(window: BudgetWindow, level: string): LevelUse {
  let use = window.levels.get(level);
  if (use === undefined) {
    use = { settled: 0, held: 0, admitted: 0, degraded: 0, refused: 0, limit: null };
    window.levels.set(level, use);
  }
  return use;
}

function copyOfLevels(levels: ReadonlyMap<string, LevelUse>): Map<string, LevelUse> {
  const copy = new Map<string, LevelUse>();
  for (const [name, { settled, held, admitted, degraded, refused, limit }] of levels) {
    copy.set(name, { settled, held, admitted, degraded, refused, limit });
  }
  return copy;
}

/**
 * The level at which so many tokens more would make a sum inexact; undefined: there is room. To be asked before anything
 * is changed.
 */
export function fullLevel(
  window: Readonly<BudgetWindow> | null,
  path: readonly string[],
  tokens: number,
): string | undefined {
  return path.find((name) => {
    const use = window?.levels.get(name);
    return use !== undefined && use.settled + use.held > Number.MAX_SAFE_INTEGER - tokens;
  });
}

/** @throws when there is no room: for what has no caller that could be told */
export function requireRoom(window: BudgetWindow | null, path: readonly string[], tokens: number): void {
  const level = fullLevel(window, path, tokens);
  if (level !== undefined) throw new Error(`what is used at ${level} would no longer be exact`);
}
