import type { StartRange } from '../../../shared/usage/hot-usage.js';
import { parseQuery } from '../../http/query.js';
import { invalid, Refusal } from '../../refusal.js';
import { parseIsoTime } from '../iso-time.js';

const DAY_MS = 86_400_000;
const RANGE_DAYS_MAX = 366;

export type Parameters = ReadonlyMap<string, string>;

/** The query of a URL in which nothing but `known` may occur. @throws Refusal invalid_request */
export function strictQuery(url: string, known: readonly string[]): Parameters {
  const parameters = parseQuery(url);
  for (const name of parameters.keys()) {
    if (!known.includes(name)) {
      throw invalid('query', `holds a parameter that is not known; known are ${known.join(', ')}`);
    }
  }
  return parameters;
}

/**
 * `from` and `to`, ISO 8601 with a zone: windows that start in [from, to), in ms since the epoch.
 * @throws Refusal invalid_request; range_too_large above 366 days
 */
export function requiredRange(parameters: Parameters): StartRange {
  const range = { from: requiredTime(parameters, 'from'), to: requiredTime(parameters, 'to') };
  if (range.from >= range.to) throw invalid('from', 'must be before to');
  if (range.to - range.from > RANGE_DAYS_MAX * DAY_MS) {
    throw new Refusal('range_too_large', `The range may span ${RANGE_DAYS_MAX} days at most.`);
  }
  return range;
}

/** One of a few words. @throws Refusal invalid_request */
export function optionalChoice<Choice extends string>(
  parameters: Parameters,
  name: string,
  choices: readonly Choice[],
): Choice | undefined {
  const given = parameters.get(name);
  if (given === undefined) return undefined;
  const choice = choices.find((candidate) => candidate === given);
  if (choice === undefined) throw invalid(name, `must be one of ${choices.join(', ')}`);
  return choice;
}

function requiredTime(parameters: Parameters, name: string): number {
  const text = parameters.get(name);
  if (text === undefined) throw invalid(name, 'is required');
  const time = parseIsoTime(text);
  if (Number.isNaN(time)) {
    // An unencoded + is a space in a query.
    const hint = / \d\d:\d\d$/.test(text) ? ' (a + in a URL is written %2B)' : '';
    throw invalid(name, `must be an ISO 8601 time with Z or an offset${hint}`);
  }
  // Windows start at whole ms: a time between two of them bounds what the later one bounds.
  return /\.\d{3}\d*[1-9]/.test(text) ? time + 1 : time;
}
