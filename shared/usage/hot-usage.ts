import type { Redis } from 'ioredis';
import {
  countersDocument,
  hotWindowsIndex,
  type Keys,
  PARTITION_DOCUMENT,
  type PartitionKeys,
  windowDocument,
} from '../keys.js';
import { currentTenant } from '../postgres/tenant-context.js';
import { classifyRedisError } from '../redis/store-unavailable.js';
import { decodeCounters, decodeMetering, decodeWindow } from '../state/metering-codec.js';
import type { CountersState, MeteringState } from '../state/metering-state.js';
import { partitionName, partitionOf } from '../topics.js';
import { readDocuments } from './read-documents.js';
import { readWatermark, type Watermark } from './read-watermark.js';
import { messagePosition, type UsageWindow } from './usage-window.js';

export interface HotUsageOptions {
  readonly redis: Redis;
  readonly keys: Keys;
  readonly partitions: number;
  /** Length of a window, in ms. */
  readonly windowMs: number;
}

/** Starts in [from, to), ms since the epoch. */
export interface StartRange {
  readonly from: number;
  readonly to: number;
}

/** Which windows of a customer are in Redis. */
export interface HotIndex {
  /** Their starts, ascending; at most as many as were asked for. */
  readonly starts: readonly number[];
  /** Every window that starts at or after this time, if it exists, is (or was, a moment ago) among the hot ones. */
  readonly completeFrom: number;
  /** Windows that ended at or before this time may have left for the archive; 0: none ever did. */
  readonly evictedUntil: number;
}

/** Documents asked for in one call of the script. Their bytes are bounded by the caller. */
const DOCUMENTS_PER_READ = 500;

/** Where a customer's documents lie. */
interface Place {
  readonly tenant: string;
  readonly partition: string;
  readonly keys: PartitionKeys;
}

/**
 * Reads what Redis holds of usage. No method takes a tenant: every key is made of the tenant in whose context the
 * caller runs (`withTenant`), so that one tenant's data cannot be asked for on behalf of another.
 *
 * Every method rejects with TenantRequired outside of a context, and with StoreUnavailable while Redis is away.
 */
export class HotUsage {
  constructor(private readonly options: HotUsageOptions) {}

  /** To be read before anything it is to speak of. */
  async watermark(customer: string): Promise<Watermark> {
    return asked(readWatermark(this.options.redis, this.placeOf(customer).keys));
  }

  /**
   * Which windows are hot, `limit` at most. The index is read first: a window that leaves Redis in between has
   * raised `completeFrom`, which tells the reader that the archive has it.
   */
  async index(customer: string, { from, to }: StartRange, limit: number): Promise<HotIndex> {
    const { redis } = this.options;
    const { tenant, keys } = this.placeOf(customer);
    const [starts, document] = await asked(
      Promise.all([
        redis.zrangebyscore(keys.index(hotWindowsIndex(tenant, customer)), from, `(${to}`, 'LIMIT', 0, limit),
        redis.get(keys.doc(PARTITION_DOCUMENT)),
      ]),
    );
    const metering = document === null ? undefined : decodeMetering(document);
    return {
      starts: starts.map(Number),
      completeFrom: completeFrom(metering),
      evictedUntil: metering?.coldUntil ?? 0,
    };
  }

  /** How many windows are hot. */
  async count(customer: string, { from, to }: StartRange): Promise<number> {
    const { tenant, keys } = this.placeOf(customer);
    return asked(this.options.redis.zcount(keys.index(hotWindowsIndex(tenant, customer)), from, `(${to}`));
  }

  /**
   * The windows that start at these times, as many of the first as take `bytesMax` of documents, and the one that goes
   * beyond; at least one. undefined in the place of a window that is not (any more) in Redis.
   */
  async windows(
    customer: string,
    starts: readonly number[],
    bytesMax: number,
  ): Promise<(UsageWindow | undefined)[]> {
    const place = this.placeOf(customer);
    const windows: (UsageWindow | undefined)[] = [];
    let bytesLeft = bytesMax;
    // One after the other: what the first leaves of the bytes is what the next may read.
    while (windows.length < starts.length && (windows.length === 0 || bytesLeft > 0)) {
      const chunk = starts.slice(windows.length, windows.length + DOCUMENTS_PER_READ);
      const keys = chunk.map((start) => place.keys.doc(windowDocument(place.tenant, start, customer)));
      for (const text of await asked(readDocuments(this.options.redis, keys, bytesLeft))) {
        bytesLeft -= text === null ? 0 : Buffer.byteLength(text);
        windows.push(text === null ? undefined : this.decoded(place, text));
      }
    }
    return windows;
  }

  /** Hot counters; undefined for a customer that has none. */
  async counters(customer: string): Promise<CountersState | undefined> {
    const { tenant, keys } = this.placeOf(customer);
    const text = await asked(this.options.redis.get(keys.doc(countersDocument(tenant, customer))));
    return text === null ? undefined : decodeCounters(text);
  }

  private decoded({ partition }: Place, text: string): UsageWindow {
    const window = decodeWindow(text);
    const { asOfEntry, asOfIndex } = window;
    const last = {
      atMs: Number.parseInt(asOfEntry, 10),
      position: messagePosition(partition, asOfEntry, asOfIndex),
    };
    return { ...window, end: window.start + this.options.windowMs, last };
  }

  /** @throws TenantRequired */
  private placeOf(customer: string): Place {
    const tenant = currentTenant();
    const partition = {
      topic: 'usage',
      index: partitionOf(tenant, customer, this.options.partitions),
    } as const;
    return { tenant, partition: partitionName(partition), keys: this.options.keys.partition(partition) };
  }
}

/**
 * From when on Redis alone knows every window: since the partition was born, and after what has left it or was counted
 * in the archive at once, because it was too old (`coldUntil` says both, see rules/windows.ts).
 */
function completeFrom(metering: MeteringState | undefined): number {
  // Nothing was folded here yet; an archive of an earlier life may exist all the same.
  if (metering === undefined || metering.bornAt === 0) return Number.POSITIVE_INFINITY;
  return Math.max(metering.bornAt, metering.coldUntil);
}

async function asked<T>(answer: Promise<T>): Promise<T> {
  try {
    return await answer;
  } catch (error) {
    throw classifyRedisError(error);
  }
}
