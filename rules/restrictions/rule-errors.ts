import { errorText } from '../../shared/messages/error-text.js';
import type { Draft } from './draft.js';

/** Of the last error of each rule, which is kept in the partition's document and shown by `GET /rules`. */
const ERROR_CHARACTERS_MAX = 300;

/**
 * Something of a rule failed: that is counted and told, and changes nothing else. The event, the timer and the other
 * rules go on as if this rule had had nothing to say.
 *
 * @param place what failed: `matches`, `reset`, `window <name>`
 */
export function ruleFailed(draft: Draft, rule: string, place: string, error: unknown, at: number): void {
  const { partition } = draft;
  const last = `${place}: ${errorText(error, ERROR_CHARACTERS_MAX)}`;
  const count = (partition.errors?.[rule]?.count ?? 0) + 1;
  draft.partition = { ...partition, errors: { ...partition.errors, [rule]: { count, last, at } } };
  draft.effects.push({ kind: 'count', metric: 'rule_errors', rule, error: last });
}
