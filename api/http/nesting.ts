/** Arrays and objects that may be open at once. JSON.parse takes up to a second for a megabyte of brackets. */
export const LEVELS_MAX = 64;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
/** `[` and `{` differ in this bit alone, and so do `]` and `}`. */
const CURLY = 0x20;
const OPENS = 0x7b;
const CLOSES = 0x7d;

/**
 * Whether JSON is nested deeper than LEVELS_MAX; of what is no JSON it may say either. Most bodies have fewer brackets
 * than that, which costs 0.1 µs to find out; in a batch it takes a fifth of the time of JSON.parse.
 */
export function isTooDeep(text: string): boolean {
  return hasManyBrackets(text) && isDeep(text);
}

function hasManyBrackets(text: string): boolean {
  let opened = 0;
  for (const bracket of ['{', '[']) {
    for (let at = text.indexOf(bracket); at !== -1; at = text.indexOf(bracket, at + 1)) {
      if (++opened > LEVELS_MAX) return true;
    }
  }
  return false;
}

function isDeep(text: string): boolean {
  let depth = 0;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) {
      at = endOfText(text, at);
      if (at === -1) return false;
    } else if ((code | CURLY) === OPENS) {
      if (++depth > LEVELS_MAX) return true;
    } else if ((code | CURLY) === CLOSES) depth--;
  }
  return false;
}

/** Where the string that begins here ends; -1: nowhere. A quote after an odd number of backslashes is part of it. */
function endOfText(text: string, start: number): number {
  for (let end = text.indexOf('"', start + 1); end !== -1; end = text.indexOf('"', end + 1)) {
    let before = end - 1;
    while (text.charCodeAt(before) === BACKSLASH) before--;
    if ((end - before) % 2 === 1) return end;
  }
  return -1;
}
