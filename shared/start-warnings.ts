import type { Logger } from './logging.js';
import { misspeltSettings } from './setting-names.js';

/** What does not keep a process from starting, and should be known. Under a launcher, which has said it already, nothing. */
export function warnAtStart(log: Logger): void {
  if (process.send !== undefined) return;
  for (const line of startWarnings()) log.warn(line);
}

/** For a command whose output is for people, or for programs that read its stdout. */
export function warnOnStderr(): void {
  for (const line of startWarnings()) process.stderr.write(`warning: ${line}\n`);
}

export function startWarnings(): readonly string[] {
  return [...misspeltSettings(), ...jsonDefects()];
}

/**
 * V8 since Node 24 (nodejs/node#63785) remembers how objects went on after the same first keys, and takes any escaped
 * key for a remembered one that is a backslash. Whoever posts first decides how the keys of others are read.
 */
export function jsonDefects(parse: (text: string) => unknown = JSON.parse): readonly string[] {
  parse('{"weir self-test":[],"\\\\":0}');
  const keys = Object.keys(parse('{"weir self-test":0,"\\n":0}') as object);
  if (keys[1] === '\n') return [];
  return [
    `Node ${process.versions.node} reads escaped keys of JSON objects wrongly (nodejs/node#63785): one caller's post can change how the metadata of another is stored. Use Node 22.`,
  ];
}
