import { createHash } from 'node:crypto';
import type { StartRange } from '../../../shared/usage/hot-usage.js';
import { invalid } from '../../refusal.js';

/** What a list of windows is a list of. A cursor of one list means nothing in another. */
export interface WindowList extends StartRange {
  readonly tenant: string;
  readonly customer: string;
}

/** `<start of the last window shown, ms>.<check>` */
const CURSOR = /^(\d{1,15})\.([0-9a-f]{16})$/;

/** Names the last window that was shown: the next page begins after it, whatever came or left meanwhile. */
export function encodeCursor(list: WindowList, lastStart: number): string {
  return Buffer.from(`${lastStart}.${checkOf(list)}`, 'latin1').toString('base64url');
}

/** @returns the start of the last window shown. @throws Refusal invalid_request for a cursor of another list */
export function decodeCursor(list: WindowList, cursor: string): number {
  const match = CURSOR.exec(Buffer.from(cursor, 'base64url').toString('latin1'));
  const start = Number(match?.[1]);
  if (match?.[2] !== checkOf(list) || start < list.from || start >= list.to) {
    throw invalid('cursor', 'must be a nextCursor of this very query (same customerId, from and to)');
  }
  return start;
}

/** Guards against mistakes, not against forgers: a forged cursor shows nothing but windows of the same list. */
function checkOf({ tenant, customer, from, to }: WindowList): string {
  const text = JSON.stringify([tenant, customer, from, to]);
  return createHash('sha256').update(text).digest('hex').slice(0, 16);
}
