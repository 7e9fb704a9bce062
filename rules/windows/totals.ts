import { OTHER, type UsageData } from '../../shared/messages/usage.js';
import type { Dimension, Named, Totals } from '../../shared/state/metering-state.js';
import { nameBytes } from '../../shared/state/name-bytes.js';

/**
 * Most that the names of one document may weigh. A document that grew beyond what a commit takes (1 MiB) would turn
 * its customer's usage into dead letters; instead what would outgrow this counts under `__other__`.
 */
export const NAME_BYTES_MAX = 900_000;

export function emptyTotals(): Totals {
  return { calls: 0, tokens: 0, inputTokens: 0, outputTokens: 0, byEndpoint: new Map(), byModel: new Map() };
}

export function copyOfDimension(dimension: Dimension): Dimension {
  const copy: Dimension = new Map();
  for (const [name, { calls, tokens }] of dimension) copy.set(name, { calls, tokens });
  return copy;
}

/** @throws when a sum would no longer be exact. To be asked before anything is changed */
export function requireRoom(totals: Totals, data: UsageData): void {
  if (
    totals.tokens + data[1] > Number.MAX_SAFE_INTEGER ||
    totals.inputTokens + data[2] > Number.MAX_SAFE_INTEGER ||
    totals.outputTokens + data[3] > Number.MAX_SAFE_INTEGER
  ) {
    throw new Error('the sum of tokens would no longer be exact');
  }
}

/**
 * Counts one event.
 * @param within the document that the totals are part of
 * @returns how many of its names (endpoint, model) had to be counted under `__other__`
 */
export function addUsage(totals: Totals, data: UsageData, dimensionsMax: number, within: Named): number {
  totals.calls += 1;
  totals.tokens += data[1];
  totals.inputTokens += data[2];
  totals.outputTokens += data[3];
  const others = addName(totals.byEndpoint, data[0], data[1], dimensionsMax, within);
  return data[4] === null
    ? others
    : others + addName(totals.byModel, data[4], data[1], dimensionsMax, within);
}

function addName(
  dimension: Dimension,
  name: string,
  tokens: number,
  dimensionsMax: number,
  within: Named,
): number {
  const usage = dimension.get(name);
  if (usage !== undefined) {
    usage.calls += 1;
    usage.tokens += tokens;
    return 0;
  }
  if (isAdmitted(dimension, name, dimensionsMax, within)) {
    dimension.set(name, { calls: 1, tokens });
    within.nameBytes += nameBytes(name);
    return 0;
  }
  addName(dimension, OTHER, tokens, dimensionsMax, within);
  return 1;
}

/** `__other__` has a place of its own, also where it is somebody's real endpoint. */
function isAdmitted(dimension: Dimension, name: string, dimensionsMax: number, within: Named): boolean {
  if (name === OTHER) return true;
  const names = dimension.has(OTHER) ? dimension.size - 1 : dimension.size;
  return names < dimensionsMax && within.nameBytes + nameBytes(name) <= NAME_BYTES_MAX;
}
