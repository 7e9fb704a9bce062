import type { IncomingMessage } from 'node:http';
import { checkedId } from './http/query.js';
import { invalid } from './refusal.js';

const HEADER = 'Idempotency-Key';
const VISIBLE = /^[\x20-\x7e]*$/;
/** A string of RFC 8941, as the IETF draft of this header has it. */
const QUOTED = /^"(?:[^"\\]|\\["\\])*"$/;

/**
 * The id that `Idempotency-Key` gives to a request whose body may have one and has none; undefined: no header. `"abc"`
 * is abc. Node reads a header as Latin-1: an id that is not ASCII could not be told from another.
 * @throws Refusal invalid_request
 */
export function idempotencyKey(req: IncomingMessage): string | undefined {
  if (req.headers['idempotency-key'] === undefined) return undefined;
  const [text = '', ...more] = req.headersDistinct['idempotency-key'] ?? [];
  if (more.length > 0) throw invalid(HEADER, 'is given twice');
  if (!VISIBLE.test(text)) throw invalid(HEADER, 'must be ASCII: other ids go into the body');
  if (!text.startsWith('"')) return checkedId(text, HEADER);
  if (!QUOTED.test(text)) throw invalid(HEADER, 'begins with a quote and is no quoted string');
  return checkedId(text.slice(1, -1).replaceAll(/\\(.)/g, '$1'), HEADER);
}

/** @param id what the request goes by, by its body or by the header. @throws Refusal invalid_request */
export function requireSameId(key: string | undefined, id: string, field: string): void {
  if (key !== undefined && key !== id) {
    throw invalid(HEADER, `is another id than ${field}: leave one of them out`);
  }
}
