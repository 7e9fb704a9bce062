import type { Defect } from '../refusal.js';
import { childPath } from '../schema-defects.js';
import { isSound, textJson } from './text-json.js';

/** Bounds of the fields of `metadata` that weir does not know: how many, how deep, how long as JSON. */
export const EXTRA_FIELDS_MAX = 64;
export const EXTRA_DEPTH_MAX = 8;
export const EXTRA_BYTES_MAX = 8 * 1024;

const UNSOUND = 'must not contain U+0000 or lone surrogates';

/**
 * The fields of `metadata` that are not known, as the JSON of one object; undefined where there are none.
 *
 * Made as text and never as an object: `__proto__` is a name like any other here, and assigning it to a copy would
 * lose it.
 */
export function extraJson(
  metadata: object,
  isKnown: (key: string) => boolean,
  defects: Defect[],
): string | undefined {
  let json: string | undefined;
  let fields = 0;
  for (const key in metadata) {
    if (isKnown(key)) continue;
    const nameJson = textJson(key);
    const value = (metadata as Readonly<Record<string, unknown>>)[key];
    const message = nameJson === undefined ? UNSOUND : valueDefect(value, 0);
    if (message !== undefined) {
      defects.push({ path: childPath('metadata', key), message });
      return undefined;
    }
    json = `${json === undefined ? '{' : `${json},`}${nameJson}:${soundJson(value)}`;
    if (++fields > EXTRA_FIELDS_MAX || json.length >= EXTRA_BYTES_MAX) break;
  }
  if (json === undefined) return undefined;
  if (fields > EXTRA_FIELDS_MAX) {
    defects.push({ path: 'metadata', message: `must have at most ${EXTRA_FIELDS_MAX} fields of your own` });
  } else if (json.length * 3 >= EXTRA_BYTES_MAX && Buffer.byteLength(json) >= EXTRA_BYTES_MAX) {
    const message = `must have at most ${EXTRA_BYTES_MAX} bytes of JSON in fields of your own`;
    defects.push({ path: 'metadata', message });
  }
  return `${json}}`;
}

/** The JSON of a value without defects; most are texts and numbers, which need no JSON.stringify. */
function soundJson(value: unknown): string {
  if (typeof value === 'string') return textJson(value)!;
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}

/** What is wrong with a value of JSON.parse at this depth; the bound on depth bounds the recursion too. */
function valueDefect(value: unknown, depth: number): string | undefined {
  if (typeof value === 'string') return isSound(value) ? undefined : UNSOUND;
  // 1e999 is JSON, and JSON.parse makes it Infinity, which is not.
  if (typeof value === 'number') return Number.isFinite(value) ? undefined : 'must be a finite number';
  if (typeof value !== 'object' || value === null) return undefined;
  if (depth === EXTRA_DEPTH_MAX) return `must be nested at most ${EXTRA_DEPTH_MAX} levels deep`;
  if (Array.isArray(value)) return firstDefect(value, depth + 1);
  for (const key in value) if (!isSound(key)) return UNSOUND;
  return firstDefect(Object.values(value), depth + 1);
}

function firstDefect(values: readonly unknown[], depth: number): string | undefined {
  for (const value of values) {
    const message = valueDefect(value, depth);
    if (message !== undefined) return message;
  }
  return undefined;
}
