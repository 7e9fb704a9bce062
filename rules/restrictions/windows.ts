import type { EventName } from '../../shared/messages/events.js';
import type { Profile, UserState, WindowEntry } from '../../shared/state/user-state.js';
import type { Rule, RuleFacts } from './rule.js';

/** A declared window, prepared for the folds. */
export interface CompiledWindow {
  readonly rule: Rule;
  readonly name: string;
  /** `<rule>.<window>`: where its entries lie in the user's state. */
  readonly key: string;
  readonly event: EventName;
  readonly spanMs: number;
  /** Property whose distinct values count; undefined where the events themselves do. */
  readonly distinct: string | undefined;
  readonly entriesMax: number;
}

/**
 * The entries with one more, without those that have left the window. Entries lie oldest first, because `at` never
 * goes back within a partition. Only the newest `entriesMax` are kept: they are also the last to leave, so that a
 * count is always min(true count, entriesMax).
 */
export function addToWindow(
  entries: readonly WindowEntry[],
  window: CompiledWindow,
  at: number,
  value: string,
): readonly WindowEntry[] {
  const kept: WindowEntry[] = [];
  for (let i = firstInside(entries, window.spanMs, at); i < entries.length; i++) {
    const entry = entries[i]!;
    if (window.distinct === undefined || entry[1] !== value) kept.push(entry);
  }
  kept.push([at, value]);
  return kept.length > window.entriesMax ? kept.slice(-window.entriesMax) : kept;
}

/** Index of the first entry still in the window: those with `at - entry < spanMs`. */
function firstInside(entries: readonly WindowEntry[], spanMs: number, at: number): number {
  let low = 0;
  let high = entries.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (at - entries[middle]![0] < spanMs) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** The rule reads a window that it does not have: true of every user, so that it shows when the worker starts. */
export class UndeclaredWindowError extends Error {}

/** What one rule sees of one user: the profile, and its own windows only. */
export class WindowFacts implements RuleFacts {
  // Out of reach of the rule, which must not change them.
  readonly #declared: ReadonlyMap<string, CompiledWindow>;
  readonly #windows: UserState['windows'];

  constructor(
    readonly profile: Profile,
    readonly at: number,
    declared: ReadonlyMap<string, CompiledWindow>,
    windows: UserState['windows'],
  ) {
    this.#declared = declared;
    this.#windows = windows;
  }

  count(name: string): number {
    const window = this.#declared.get(name);
    if (window === undefined || window.distinct !== undefined) {
      throw new UndeclaredWindowError(`the rule declares no window ${name} that counts events`);
    }
    return this.size(window);
  }

  distinct(name: string): number {
    const window = this.#declared.get(name);
    if (window === undefined || window.distinct === undefined) {
      throw new UndeclaredWindowError(`the rule declares no window ${name} that counts distinct values`);
    }
    return this.size(window);
  }

  private size(window: CompiledWindow): number {
    const entries = this.#windows[window.key];
    return entries === undefined ? 0 : entries.length - firstInside(entries, window.spanMs, this.at);
  }
}
