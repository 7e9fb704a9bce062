/** Commands of our scripts without a key. */
const KEYLESS = new Set(['TIME', 'PUBLISH']);
/** Commands all of whose arguments are keys. */
const ALL_KEYS = new Set(['DEL', 'UNLINK', 'EXISTS', 'MGET']);
/** Commands whose key is the second word after the name. */
const AFTER_A_WORD = new Set(['XGROUP', 'MEMORY', 'XINFO', 'OBJECT']);

/**
 * The calls of a script whose keys are not plainly KEYS: an element of it, a local that holds one, a parameter that every
 * caller gives one, or a table into which elements of KEYS and values are written by turns. Nothing is guessed: what is
 * not understood is reported.
 */
export function undeclaredKeys(lua: string): string[] {
  const code = lua.replace(/--\[\[[\s\S]*?\]\]/g, '').replace(/--.*$/gm, '');
  const declared = declaredNames(code);
  return callsOf(code, /redis\.p?call/)
    .filter(({ args }) => !isDeclared(args, declared) && !isTableOfKeys(args, code))
    .map(({ text }) => text);
}

interface Call {
  readonly text: string;
  readonly args: readonly string[];
}

/** Calls of what matches, with their arguments as text. */
function callsOf(code: string, what: RegExp): Call[] {
  const calls: Call[] = [];
  for (const found of code.matchAll(new RegExp(`(?<![\\w.])(?:${what.source})\\(`, 'g'))) {
    const args: string[] = [];
    let depth = 0;
    let from = found.index + found[0].length;
    let quote = '';
    for (let i = from; i < code.length; i++) {
      const c = code[i]!;
      if (quote !== '') {
        if (c === quote) quote = '';
      } else if (c === "'" || c === '"') quote = c;
      else if ('([{'.includes(c)) depth++;
      else if (')]}'.includes(c) && depth > 0) depth--;
      else if ((c === ',' && depth === 0) || c === ')') {
        args.push(code.slice(from, i).trim());
        from = i + 1;
        if (c === ')') {
          calls.push({ text: code.slice(found.index, i + 1).replace(/\s+/g, ' '), args });
          break;
        }
      }
    }
  }
  return calls;
}

const isKey = (text: string, declared: ReadonlySet<string>): boolean =>
  /^KEYS\[[^\]]*(\[[^\]]*\][^\]]*)?\]$/.test(text) || declared.has(text);

/** Names that hold an element of KEYS wherever they are used. */
function declaredNames(code: string): ReadonlySet<string> {
  const none = new Set<string>();
  const names = new Set<string>();
  const refuted = new Set<string>();
  const learn = (name: string, value: string): void => {
    (isKey(value, none) ? names : refuted).add(name);
  };
  for (const [, left = '', right = ''] of code.matchAll(/^\s*(?:local\s+)?([\w, ]+?)\s*=(?!=)\s*(.+)$/gm)) {
    const values = splitList(right);
    for (const [i, name] of splitList(left).entries()) learn(name, values[i] ?? '');
  }
  for (const [, name = '', list = ''] of code.matchAll(/local function (\w+)\(([^)]*)\)/g)) {
    const calls = callsOf(code.replace(/function \w+\(/g, 'function ('), new RegExp(name));
    for (const [i, parameter] of splitList(list).entries()) {
      for (const { args } of calls) learn(parameter, args[i] ?? '');
    }
  }
  return new Set([...names].filter((name) => !refuted.has(name)));
}

function splitList(text: string): string[] {
  return callsOf(`f(${text})`, /f/)[0]?.args.slice() ?? [];
}

/** `MSET` of a table: what is written into it by turns is a key and a value. */
function isTableOfKeys([name, list = '']: readonly string[], code: string): boolean {
  const table = /^unpack\((\w+)\)$/.exec(list)?.[1];
  if (name !== "'MSET'" || table === undefined) return false;
  const written = [...code.matchAll(new RegExp(`\\b${table}\\[.+\\] = (.+)$`, 'gm'))].map(
    ([, value]) => value!,
  );
  return written.length === 2 && isKey(written[0]!, new Set());
}

function isDeclared([quoted = '', ...args]: readonly string[], declared: ReadonlySet<string>): boolean {
  // The name of the command may be an argument: its key may not.
  const name = /^'(\w+)'$/.exec(quoted)?.[1];
  if (name === undefined && !/^\w+$/.test(quoted)) return false;
  if (name !== undefined && KEYLESS.has(name)) return true;
  const first = name !== undefined && AFTER_A_WORD.has(name) ? args[1] : args[0];
  if (name === 'XREADGROUP') return isKey(args[args.indexOf("'STREAMS'") + 1] ?? '', declared);
  if (first === undefined) return false;
  if (name !== undefined && ALL_KEYS.has(name)) {
    return args.every((arg) => /^unpack\(KEYS[,)]/.test(arg) || isKey(arg, declared));
  }
  return isKey(first, declared);
}
