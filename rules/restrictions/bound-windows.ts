import type { WindowEntry } from '../../shared/state/user-state.js';
import { type Context, type Draft, modeOf } from './draft.js';
import { ruleFailed } from './rule-errors.js';

/** What the windows of all rules may take of one user's document, as JSON: half of it. The rest has bounds of its own. */
const WINDOWS_BYTES_MAX = 512 * 1024;
/** So many entries always fit: a value has at most 128 characters of 6 bytes each. */
const ENTRIES_UNMEASURED = 600;

interface Measured {
  readonly key: string;
  readonly rule: string;
  /** The lower, the sooner it gives way: rules that are gone, then those that restrict nobody, then live ones. */
  readonly rank: number;
  entries: readonly WindowEntry[];
  bytes: number;
}

/**
 * Windows that together do not fit lose their older half, one after the other: else the document would be too large, and
 * the event a dead letter for every rule. What a rule counts is too low from then on, so this is an error of that rule.
 */
export function boundWindows(draft: Draft, context: Context): void {
  const { windows } = draft.user;
  let entries = 0;
  for (const key in windows) entries += windows[key]?.length ?? 0;
  if (entries <= ENTRIES_UNMEASURED) return;
  const measured = Object.keys(windows).map((key) => measure(key, draft, context));
  let bytes = measured.reduce((sum, window) => sum + window.bytes, 0);
  if (bytes <= WINDOWS_BYTES_MAX) return;
  measured.sort((a, b) => a.rank - b.rank || b.bytes - a.bytes);
  const cut = new Set<string>();
  for (const window of measured) {
    while (bytes > WINDOWS_BYTES_MAX && window.entries.length > 0) {
      bytes -= window.bytes;
      window.entries = window.entries.slice(Math.ceil(window.entries.length / 2));
      window.bytes = bytesOf(window.entries);
      bytes += window.bytes;
      cut.add(window.rule);
    }
  }
  draft.user = {
    ...draft.user,
    windows: Object.fromEntries(measured.map(({ key, entries: kept }) => [key, kept])),
  };
  for (const rule of cut) {
    if (!context.catalog.byName.has(rule)) continue;
    ruleFailed(draft, rule, 'windows', new RangeError('more than a document holds'), context.at);
  }
}

function measure(key: string, { user, partition }: Draft, { catalog }: Context): Measured {
  const rule = key.slice(0, key.indexOf('.'));
  const compiled = catalog.byName.get(rule);
  const rank = compiled === undefined ? 0 : modeOf(partition, compiled.rule) === 'live' ? 2 : 1;
  const entries = user.windows[key]!;
  return { key, rule, rank, entries, bytes: bytesOf(entries) };
}

function bytesOf(entries: readonly WindowEntry[]): number {
  return Buffer.byteLength(JSON.stringify(entries));
}
