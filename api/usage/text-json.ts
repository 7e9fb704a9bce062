import type { Defect } from '../refusal.js';

/** What JSON has to escape, and what needs a closer look: controls, quote, backslash, surrogates. */
const UNUSUAL = /[^ !#-[\]-\ud7ff\ue000-\uffff]/;

/**
 * A text as JSON; undefined when it holds U+0000 or a lone surrogate. One scan both proves an ordinary text sound
 * and spares JSON.stringify, which takes twice as long.
 */
export function textJson(text: string): string | undefined {
  if (!UNUSUAL.test(text)) return `"${text}"`;
  return isSound(text) ? JSON.stringify(text) : undefined;
}

/** Neither U+0000 (Postgres cannot hold it) nor lone surrogates (they are no text). */
export function isSound(text: string): boolean {
  return !text.includes('\0') && text.isWellFormed();
}

/**
 * A required text of 1 to `charactersMax` characters as JSON. Characters are code points, as in every id.
 * @returns `""` after it has told `defects` what is wrong
 */
export function boundedTextJson(
  value: unknown,
  charactersMax: number,
  path: string,
  defects: Defect[],
): string {
  const message = lengthDefect(value, charactersMax);
  if (message === undefined) {
    const json = textJson(value as string);
    if (json !== undefined) return json;
  }
  defects.push({ path, message: message ?? 'must not contain U+0000 or lone surrogates' });
  return '""';
}

function lengthDefect(value: unknown, charactersMax: number): string | undefined {
  if (typeof value !== 'string') {
    return value === undefined || value === null ? 'is required' : 'must be a string';
  }
  if (value === '') return 'must not be empty';
  // A code point has one or two UTF-16 units: only in between do they have to be counted.
  if (value.length <= charactersMax) return undefined;
  if (value.length <= 2 * charactersMax && [...value].length <= charactersMax) return undefined;
  return `must have at most ${charactersMax} characters`;
}
