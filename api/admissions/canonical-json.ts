import { invalid, type Refusal } from '../refusal.js';
import { childPath } from '../schema-defects.js';

/** An array or object that is being written. */
interface Open {
  readonly values: readonly unknown[];
  /** Of an object: of each value. */
  readonly names: readonly string[] | undefined;
  next: number;
}

/**
 * A JSON value as text that is the same for the same value: the names of every object in order, no spaces. Strings are
 * escaped where they are not well-formed, so that no two become one when the text is encoded.
 *
 * Not recursive: a body may be nested deeper than any stack.
 * @throws Refusal invalid_request for a number that may not be the one that was written
 */
export function canonicalJson(root: unknown): string {
  const opened: Open[] = [];
  let text = '';
  let value = root;
  for (;;) {
    if (typeof value === 'object' && value !== null) {
      const open = openedOf(value);
      text += open.names === undefined ? '[' : '{';
      opened.push(open);
    } else if (typeof value !== 'number') text += JSON.stringify(value);
    else if (Math.abs(value) <= Number.MAX_SAFE_INTEGER) text += String(value);
    else throw inexact(opened);
    let open = opened.at(-1);
    while (open !== undefined && open.next === open.values.length) {
      text += open.names === undefined ? ']' : '}';
      opened.pop();
      open = opened.at(-1);
    }
    if (open === undefined) return text;
    if (open.next > 0) text += ',';
    if (open.names !== undefined) text += `${JSON.stringify(open.names[open.next])}:`;
    value = open.values[open.next];
    open.next++;
  }
}

function openedOf(value: object): Open {
  if (Array.isArray(value)) return { values: value, names: undefined, next: 0 };
  const names = Object.keys(value).sort();
  return { values: names.map((name) => (value as Record<string, unknown>)[name]), names, next: 0 };
}

const PATH_PARTS_MAX = 16;

/** Beyond MAX_SAFE_INTEGER two integers may be read as the same number, and 1e400 as Infinity. */
function inexact(opened: readonly Open[]): Refusal {
  let path = '';
  for (const { names, next } of opened.slice(0, PATH_PARTS_MAX)) {
    path = childPath(path, names === undefined ? String(next - 1) : names[next - 1]!);
  }
  if (opened.length > PATH_PARTS_MAX) path += '.…';
  return invalid(path, `must be sent as a string: a number beyond ±${Number.MAX_SAFE_INTEGER} is not exact`);
}
