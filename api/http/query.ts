import { idSchema } from '../../shared/messages/events.js';
import { invalid } from '../refusal.js';

/**
 * The query of a URL. Strict: a parameter given twice is a mistake of the caller's, and which of the two is meant
 * is not ours to guess.
 * @throws Refusal invalid_request
 */
export function parseQuery(url: string): Map<string, string> {
  const parameters = new Map<string, string>();
  const start = url.indexOf('?');
  if (start === -1) return parameters;
  for (let from = start + 1; from < url.length; ) {
    let to = url.indexOf('&', from);
    if (to === -1) to = url.length;
    if (to > from) {
      // Looked for in this parameter alone: where none has a `=`, each would search all that follow.
      const parameter = url.slice(from, to);
      const equals = parameter.indexOf('=');
      const name = decode(equals === -1 ? parameter : parameter.slice(0, equals));
      if (parameters.has(name)) throw invalid(shown(name), 'is given twice');
      parameters.set(name, equals === -1 ? '' : decode(parameter.slice(equals + 1)));
    }
    from = to + 1;
  }
  return parameters;
}

/** A required id: 1 to 128 characters, no U+0000, no lone surrogates. @throws Refusal invalid_request */
export function requiredId(parameters: ReadonlyMap<string, string>, name: string): string {
  const value = parameters.get(name);
  if (value === undefined) throw invalid(name, 'is required');
  return checkedId(value, name);
}

/** @throws Refusal invalid_request unless `value` is an id. */
export function checkedId(value: string, name: string): string {
  const parsed = idSchema.safeParse(value);
  if (!parsed.success) throw invalid(name, parsed.error.issues[0]!.message);
  return value;
}

/** An optional whole number. @throws Refusal invalid_request */
export function optionalInteger(
  parameters: ReadonlyMap<string, string>,
  name: string,
  bounds: { readonly min: number; readonly max: number; readonly otherwise: number },
): number {
  const text = parameters.get(name);
  if (text === undefined) return bounds.otherwise;
  const value = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN;
  if (!(value >= bounds.min && value <= bounds.max)) {
    throw invalid(name, `must be a whole number from ${bounds.min} to ${bounds.max}`);
  }
  return value;
}

function decode(text: string): string {
  const spaced = text.includes('+') ? text.replaceAll('+', ' ') : text;
  if (!spaced.includes('%')) return spaced;
  try {
    return decodeURIComponent(spaced);
  } catch {
    throw invalid('query', 'holds malformed percent-encoding');
  }
}

/** A parameter name that is safe to repeat to the caller. */
function shown(name: string): string {
  return name.length > 0 && name.length <= 64 && name.isWellFormed() ? name : 'a parameter';
}
