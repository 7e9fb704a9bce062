import { FEATURES, type Feature } from '../../shared/messages/events.js';
import { memberOf, type Subject, subjectOf } from './subject.js';

/**
 * Timers of the topic `events`. Rules, features and tenants hold no `:`, and the free-form part comes last:
 *
 *   expire:<rule>:<tenant>:<user>       a restriction ends by itself
 *   override:<feature>:<tenant>:<user>  a manual override ends by itself
 *   rollback:<control id>               the next step of a rollback
 */
export type RestrictionTimer =
  | { readonly kind: 'expire'; readonly rule: string; readonly subject: Subject }
  | { readonly kind: 'override'; readonly feature: Feature; readonly subject: Subject }
  | { readonly kind: 'rollback'; readonly control: string };

export function expireTimer(rule: string, subject: Subject): string {
  return `expire:${rule}:${memberOf(subject)}`;
}

export function overrideTimer(feature: Feature, subject: Subject): string {
  return `override:${feature}:${memberOf(subject)}`;
}

export function rollbackTimer(control: string): string {
  return `rollback:${control}`;
}

/** @throws for a timer that none of the above made */
export function parseTimer(id: string): RestrictionTimer {
  const [kind, first, rest] = splitTwice(id);
  if (kind === 'rollback' && first !== '') return { kind, control: first };
  if (kind === 'expire') return { kind, rule: first, subject: subjectOf(rest) };
  const feature = FEATURES.find((known) => known === first);
  if (kind === 'override' && feature !== undefined) return { kind, feature, subject: subjectOf(rest) };
  throw new Error(`unknown timer ${id.slice(0, 200)}`);
}

function splitTwice(text: string): readonly [string, string, string] {
  const one = text.indexOf(':');
  if (one === -1) return [text, '', ''];
  const two = text.indexOf(':', one + 1);
  if (two === -1) return [text.slice(0, one), text.slice(one + 1), ''];
  return [text.slice(0, one), text.slice(one + 1, two), text.slice(two + 1)];
}
