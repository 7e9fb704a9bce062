import type { z } from 'zod';
import { type Defect, Refusal } from './refusal.js';

/** Defects that one answer names at most. */
export const DEFECTS_MAX = 20;
const KEY_CHARACTERS_MAX = 64;

/** What a schema found, as `{path, message}`; never quotes a value, and bounded. */
export function schemaDefects(error: z.ZodError): Defect[] {
  return error.issues.flatMap(defectsOf).slice(0, DEFECTS_MAX);
}

/** Parses by a schema. @throws Refusal invalid_request with every defect */
export function parseBody<Output>(schema: z.ZodType<Output>, body: unknown): Output {
  const parsed = schema.safeParse(body);
  if (parsed.success) return parsed.data;
  throw invalidBody(schemaDefects(parsed.error));
}

/** @param errors one at least */
export function invalidBody(errors: readonly Defect[]): Refusal {
  const first = errors[0]!;
  return new Refusal('invalid_request', `${first.path === '' ? 'The body' : first.path} ${first.message}.`, {
    errors,
  });
}

function defectsOf(issue: z.core.$ZodIssue): Defect[] {
  const path = issue.path.map((part) => String(part)).join('.');
  if (issue.code === 'unrecognized_keys') {
    return issue.keys
      .slice(0, DEFECTS_MAX)
      .map((key) => ({ path: childPath(path, key), message: 'is not known' }));
  }
  return [{ path, message: messageOf(issue) }];
}

function messageOf(issue: z.core.$ZodIssue): string {
  if (issue.code === 'invalid_type') {
    // Zod's own text ends in "received undefined" where the field is absent.
    const absent = issue.message.endsWith('received undefined');
    return absent ? 'is required' : `must be ${article(issue.expected)}`;
  }
  if (issue.code === 'invalid_value') return `must be one of ${issue.values.map(String).join(', ')}`;
  return issue.message;
}

function article(expected: string): string {
  return /^[aeiou]/.test(expected) ? `an ${expected}` : `a ${expected}`;
}

/** The path of a field, safe to repeat to the caller. */
export function childPath(path: string, key: string): string {
  const shown =
    key.length <= KEY_CHARACTERS_MAX ? key.toWellFormed() : `${key.slice(0, KEY_CHARACTERS_MAX)}…`;
  return path === '' ? shown : `${path}.${shown}`;
}
