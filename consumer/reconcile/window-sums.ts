import { OTHER } from '../../shared/messages/usage.js';
import type { NamedUsage } from '../../shared/messages/window-emission.js';
import type { Usage, WindowState } from '../../shared/state/metering-state.js';

const FIELDS = [
  'calls',
  'tokens',
  'inputTokens',
  'outputTokens',
  'latencyCount',
  'latencySumUs',
  'late',
] as const;
type Field = (typeof FIELDS)[number];

export type NamedSums = ReadonlyMap<string, Usage>;

/** All that is comparable of a window. */
export interface WindowSums extends Readonly<Record<Field, number>> {
  readonly endpoints: NamedSums;
  readonly models: NamedSums;
  /** Latencies in the sketch; absent: there is none to ask. */
  readonly sketched?: number;
}

export interface SumDifference {
  readonly field: string;
  readonly claimed: number;
  readonly raw: number;
}

export const NO_SUMS: WindowSums = {
  ...{ calls: 0, tokens: 0, inputTokens: 0, outputTokens: 0, latencyCount: 0, latencySumUs: 0, late: 0 },
  endpoints: new Map(),
  models: new Map(),
};

export function sumsOfDocument(window: WindowState): WindowSums {
  return {
    ...pickFields(window),
    endpoints: window.byEndpoint,
    models: window.byModel,
    sketched: sum([...window.latency.values()]),
  };
}

export function namedSums(named: readonly NamedUsage[]): NamedSums {
  return new Map(named.map(([name, calls, tokens]) => [name, { calls, tokens }]));
}

/** @param flat as `encodeSketch` makes it: bucket, count, bucket, count … */
export function sketchedIn(flat: readonly number[]): number {
  return sum(flat.filter((_, i) => i % 2 === 1));
}

/**
 * Where a window and its raw events disagree. A name that got a place of its own in the window got it with its first
 * event, so all of its events count under it; the others count together.
 * @param raw the names the window does not know are in `__other__`
 */
export function differences(claimed: WindowSums, raw: WindowSums): SumDifference[] {
  const found: SumDifference[] = [];
  const compare = (field: string, ours: number, theirs: number): void => {
    if (ours !== theirs) found.push({ field, claimed: ours, raw: theirs });
  };
  for (const field of FIELDS) compare(field, claimed[field], raw[field]);
  if (claimed.sketched !== undefined) compare('latencies sketched', claimed.sketched, raw.latencyCount);
  for (const dimension of ['endpoints', 'models'] as const) {
    const names = new Set([...claimed[dimension].keys(), ...raw[dimension].keys()]);
    for (const name of names) {
      const ours = claimed[dimension].get(name);
      const theirs = raw[dimension].get(name);
      compare(`${dimension} ${name} calls`, ours?.calls ?? 0, theirs?.calls ?? 0);
      compare(`${dimension} ${name} tokens`, ours?.tokens ?? 0, theirs?.tokens ?? 0);
    }
  }
  return found;
}

/** The names under which raw events are to be counted; all others are `__other__`. */
export function ownNames(named: NamedSums): string[] {
  return [...named.keys()].filter((name) => name !== OTHER);
}

function pickFields(from: Readonly<Record<Field, number>>): Record<Field, number> {
  return Object.fromEntries(FIELDS.map((field) => [field, from[field]])) as Record<Field, number>;
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
