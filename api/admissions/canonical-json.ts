/** Goes out as it is, between values that are still to be written. */
class Text {
  constructor(readonly text: string) {}
}

const COMMA = new Text(',');
const END_OF_ARRAY = new Text(']');
const END_OF_OBJECT = new Text('}');

/**
 * A JSON value as text that is the same for the same value: the names of every object in order, no spaces. Strings are
 * escaped where they are not well-formed, so that no two become one when the text is encoded.
 *
 * Not recursive: a body may be nested deeper than any stack.
 */
export function canonicalJson(root: unknown): string {
  let text = '';
  const todo: unknown[] = [root];
  while (todo.length > 0) {
    const value = todo.pop();
    if (value instanceof Text) text += value.text;
    else if (Array.isArray(value)) {
      text += '[';
      todo.push(END_OF_ARRAY);
      for (let i = value.length - 1; i >= 0; i--) {
        todo.push(value[i]);
        if (i > 0) todo.push(COMMA);
      }
    } else if (typeof value === 'object' && value !== null) {
      text += '{';
      todo.push(END_OF_OBJECT);
      const names = Object.keys(value).sort();
      for (let i = names.length - 1; i >= 0; i--) {
        const name = names[i]!;
        todo.push((value as Record<string, unknown>)[name]);
        todo.push(new Text(`${i > 0 ? ',' : ''}${JSON.stringify(name)}:`));
      }
    }
    // 1e400 is read as Infinity, which JSON.stringify would make null.
    else text += typeof value === 'number' ? String(value) : JSON.stringify(value);
  }
  return text;
}
