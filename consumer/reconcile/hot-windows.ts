import type { Redis } from 'ioredis';
import { parseMeteringTimer } from '../../rules/windows/metering-timer.js';
import { type Keys, windowDocument } from '../../shared/keys.js';
import { decodeWindow } from '../../shared/state/metering-codec.js';
import { NewerDocumentError } from '../../shared/state/state-codec.js';
import type { Place, WindowKey } from './window-key.js';
import { sumsOfDocument, type WindowSums } from './window-sums.js';

/** A window as Redis has it. */
export type HotWindow =
  | { readonly kind: 'none' }
  | { readonly kind: 'window'; readonly asOf: Place; readonly sums: WindowSums }
  /** Written by a newer version. */
  | { readonly kind: 'newer' }
  | { readonly kind: 'broken' };

const SCAN_COUNT = 1000;

/** @returns in the order of the keys */
export function readHotWindows(
  redis: Redis,
  keys: Keys,
  windows: readonly WindowKey[],
): Promise<HotWindow[]> {
  return Promise.all(
    windows.map(async ({ tenant, customer, partition, start }) => {
      const base = keys.partition({ topic: 'usage', index: partition });
      const text = await redis.get(base.doc(windowDocument(tenant, start, customer)));
      return text === null ? { kind: 'none' } : readDocument(text);
    }),
  );
}

/**
 * Every window in Redis, in pieces, most of them once. By SCAN and not by an index: what no index knows of must be
 * found too. The scan goes through all keys of the server, so this is for a report, not for every minute.
 */
export async function* scanHotWindows(redis: Redis, keys: Keys): AsyncGenerator<readonly WindowKey[]> {
  let cursor = '0';
  do {
    const [next, found] = await redis.scan(cursor, 'MATCH', keys.windowDocuments, 'COUNT', SCAN_COUNT);
    if (found.length > 0) yield found.flatMap((key) => parseKey(keys, key));
    cursor = next;
  } while (cursor !== '0');
}

function parseKey(keys: Keys, key: string): WindowKey[] {
  const parsed = keys.parseDocument(key);
  if (parsed === undefined) return [];
  const { partition, name } = parsed;
  const timer = parseMeteringTimer(name);
  if (timer.kind !== 'window') return [];
  const { tenant, customer, start } = timer;
  return [{ tenant, customer, start, customerId: null, partition: partition.index }];
}

function readDocument(text: string): HotWindow {
  try {
    const window = decodeWindow(text);
    const asOf = { entry: window.asOfEntry, index: window.asOfIndex };
    if (!isPlace(asOf)) return { kind: 'broken' };
    return {
      kind: 'window',
      asOf,
      sums: sumsOfDocument(window),
    };
  } catch (error) {
    return error instanceof NewerDocumentError ? { kind: 'newer' } : { kind: 'broken' };
  }
}

/** What Postgres can be asked about. */
function isPlace({ entry, index }: Place): boolean {
  return /^\d{1,13}-\d{1,15}$/.test(entry) && Number.isInteger(index) && index >= 0 && index <= 0x7fff_ffff;
}
