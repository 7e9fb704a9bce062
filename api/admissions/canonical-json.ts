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
    } else text += scalar(value);
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

/** 1e400 is read as Infinity, which JSON.stringify would make null. */
function scalar(value: unknown): string {
  return typeof value === 'number' ? String(value) : JSON.stringify(value);
}
