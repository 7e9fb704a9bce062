import type { WindowEntry } from '../../shared/state/user-state.js';
import { boundWindows } from './bound-windows.js';
import { type Context, type Draft, modeOf } from './draft.js';
import type { EventProperties } from './profile.js';
import { ruleFailed } from './rule-errors.js';
import { addToWindow, type CompiledWindow } from './windows.js';

/**
 * Enters the event into the windows that rules declare over it. One that fails concerns its own rule alone; a rule that
 * is off has none. An event that lacks the property whose values a window counts does not enter it.
 */
export function recordWindows(
  draft: Draft,
  entered: readonly CompiledWindow[] | undefined,
  properties: EventProperties,
  context: Context,
): void {
  if (entered === undefined) return;
  const { at } = context;
  const windows: Record<string, readonly WindowEntry[]> = { ...draft.user.windows };
  for (const window of entered) {
    if (modeOf(draft.partition, window.rule) === 'off') continue;
    try {
      const value = distinctValue(properties, window.distinct);
      if (value === undefined) continue;
      const entries = windows[window.key] ?? [];
      // Begun anew where it throws: entries that are none would make it throw at every event.
      windows[window.key] = [];
      windows[window.key] = addToWindow(entries, window, at, value);
    } catch (error) {
      ruleFailed(draft, window.rule.name, `window ${window.name}`, error, at);
    }
  }
  draft.user = { ...draft.user, windows };
  boundWindows(draft, context);
}

/** @throws for a value that has no text of its own */
function distinctValue(properties: EventProperties, distinct: string | undefined): string | undefined {
  if (distinct === undefined) return '';
  const value = properties[distinct];
  if (value === undefined || value === null) return undefined;
  if (typeof value === 'string' || typeof value === 'number') return String(value);
  throw new Error(`${distinct} is not a text or number`);
}
