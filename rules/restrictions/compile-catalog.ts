import { NEW_USER } from '../../shared/state/user-state.js';
import { askRule, frozen } from './ask-rule.js';
import type { Rule } from './rule.js';
import { WINDOW_ENTRIES_DEFAULT } from './rule.js';
import { ruleDefects } from './rule-defects.js';
import { type CompiledWindow, UndeclaredWindowError, WindowFacts } from './windows.js';

/** Rules, checked and prepared for the folds. Never changed after it was made. */
export interface Catalog {
  readonly rules: readonly CompiledRule[];
  readonly byName: ReadonlyMap<string, CompiledRule>;
  /** Event → the windows it enters. */
  readonly windowsOf: ReadonlyMap<string, readonly CompiledWindow[]>;
  /** Event → the rules it is evidence for. */
  readonly evidenceOf: ReadonlyMap<string, readonly CompiledRule[]>;
}

export interface CompiledRule {
  readonly rule: Rule;
  readonly windows: ReadonlyMap<string, CompiledWindow>;
}

/** @throws an Error that names every defect of every rule, one per line */
export function compileCatalog(rules: readonly Rule[]): Catalog {
  const defects = ruleDefects(rules);
  const compiled = defects.length === 0 ? rules.map(compileRule) : [];
  for (const rule of compiled) {
    const defect = trialDefect(rule);
    if (defect !== undefined) defects.push(defect);
  }
  if (defects.length > 0) throw new Error(`rules:\n${defects.map((defect) => `  ${defect}`).join('\n')}`);
  return {
    rules: compiled,
    byName: new Map(compiled.map((entry) => [entry.rule.name, entry])),
    windowsOf: groupBy(
      compiled.flatMap(({ windows }) =>
        [...windows.values()].map((window) => [window.event, window] as const),
      ),
    ),
    evidenceOf: groupBy(
      compiled.flatMap((entry) => entry.rule.evidence.map((event) => [event, entry] as const)),
    ),
  };
}

function compileRule(rule: Rule): CompiledRule {
  const windows = Object.entries(rule.windows ?? {}).map(([name, spec]): [string, CompiledWindow] => [
    name,
    {
      rule,
      name,
      key: `${rule.name}.${name}`,
      event: spec.event,
      spanMs: spec.seconds * 1000,
      distinct: spec.distinct,
      entriesMax: spec.entriesMax ?? WINDOW_ENTRIES_DEFAULT,
    },
  ]);
  return { rule, windows: new Map(windows) };
}

/**
 * Asks the rule about a new user: a window that it reads but does not declare shows at start, not in production. What
 * else it throws concerns this rule alone, and stops no worker.
 */
function trialDefect({ rule, windows }: CompiledRule): string | undefined {
  try {
    askRule(rule, new WindowFacts(frozen(NEW_USER.profile), 0, windows, NEW_USER.windows));
    return undefined;
  } catch (error) {
    if (!(error instanceof UndeclaredWindowError)) return undefined;
    return `${rule.name}: matches() throws for a new user: ${error.message}`;
  }
}

function groupBy<Value>(pairs: readonly (readonly [string, Value])[]): ReadonlyMap<string, readonly Value[]> {
  const groups = new Map<string, Value[]>();
  for (const [key, value] of pairs) {
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [value]);
    else group.push(value);
  }
  return groups;
}
