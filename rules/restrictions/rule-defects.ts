import { EVENT_PROPERTIES, FEATURES, MODES } from '../../shared/messages/events.js';
import type { Rule, WindowSpec } from './rule.js';
import { WINDOW_ENTRIES_MAX } from './rule.js';

/** Of a rule, and of its windows. */
const NAME = /^[a-z][a-z0-9_]{0,63}$/;
const WINDOW_SECONDS_MAX = 31 * 86_400;
const EXPIRY_SECONDS_MAX = 10 * 366 * 86_400;

/** A name is also a key of plain objects in the state, where `constructor` is never absent. */
export function isRuleName(name: string): boolean {
  return NAME.test(name) && !(name in {});
}

/** What is wrong with the rules, in words for whoever wrote them; empty when nothing is. */
export function ruleDefects(rules: readonly Rule[]): string[] {
  const defects: string[] = [];
  const names = new Set<string>();
  for (const rule of rules) {
    if (names.has(rule.name)) defects.push(`${rule.name}: two rules have this name`);
    names.add(rule.name);
    for (const defect of defectsOf(rule)) defects.push(`${rule.name}: ${defect}`);
  }
  return defects;
}

function* defectsOf(rule: Rule): Generator<string> {
  if (!isRuleName(rule.name)) yield `the name must match ${NAME} and not be a reserved word`;
  if (!isInteger(rule.version, 1, Number.MAX_SAFE_INTEGER)) yield 'version must be an integer of 1 or more';
  if (!FEATURES.includes(rule.feature)) yield `unknown feature ${rule.feature}`;
  if (!MODES.includes(rule.mode)) yield `unknown mode ${rule.mode}`;
  if (rule.description.trim() === '') yield 'the description is empty';
  for (const event of rule.evidence) {
    if (!Object.hasOwn(EVENT_PROPERTIES, event)) yield `evidence names the unknown event ${event}`;
  }
  if (new Set(rule.evidence).size < rule.evidence.length) yield 'evidence names an event twice';
  for (const [name, window] of Object.entries(rule.windows ?? {})) {
    for (const defect of windowDefects(name, window)) yield `window ${name}: ${defect}`;
  }
  const { expiresAfterSeconds } = rule;
  if (expiresAfterSeconds !== undefined && !isInteger(expiresAfterSeconds, 1, EXPIRY_SECONDS_MAX)) {
    yield `expiresAfterSeconds must be an integer from 1 to ${EXPIRY_SECONDS_MAX}`;
  }
  yield* tripwireDefects(rule);
}

function* windowDefects(name: string, window: WindowSpec): Generator<string> {
  if (!NAME.test(name)) yield `the name must match ${NAME}`;
  if (!isInteger(window.seconds, 1, WINDOW_SECONDS_MAX)) {
    yield `seconds must be an integer from 1 to ${WINDOW_SECONDS_MAX}`;
  }
  if (window.entriesMax !== undefined && !isInteger(window.entriesMax, 1, WINDOW_ENTRIES_MAX)) {
    yield `entriesMax must be an integer from 1 to ${WINDOW_ENTRIES_MAX}`;
  }
  if (!Object.hasOwn(EVENT_PROPERTIES, window.event)) {
    yield `unknown event ${window.event}`;
  } else if (window.distinct !== undefined) {
    const properties = Object.keys(EVENT_PROPERTIES[window.event].shape).filter((name) => name !== 'user_id');
    if (!properties.includes(window.distinct)) yield `${window.event} has no property ${window.distinct}`;
  }
}

function* tripwireDefects({ tripwire = {} }: Rule): Generator<string> {
  const { max_share, max_users, min_population, window_seconds } = tripwire;
  if (max_share !== undefined && !(max_share > 0 && max_share <= 1)) {
    yield 'tripwire.max_share must be above 0 and at most 1';
  }
  if (max_users !== undefined && max_users !== null && !isInteger(max_users, 1, 1e9)) {
    yield 'tripwire.max_users must be an integer of 1 or more, or null';
  }
  if (min_population !== undefined && !isInteger(min_population, 0, 1e9)) {
    yield 'tripwire.min_population must be an integer of 0 or more';
  }
  if (window_seconds !== undefined && !isInteger(window_seconds, 1, 86_400)) {
    yield 'tripwire.window_seconds must be an integer from 1 to 86400';
  }
}

function isInteger(value: number, min: number, max: number): boolean {
  return Number.isInteger(value) && value >= min && value <= max;
}
