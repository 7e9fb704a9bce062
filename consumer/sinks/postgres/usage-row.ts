import { usageEventOf } from '../../../rules/windows/usage-event.js';
import { windowStart } from '../../../rules/windows/window-document.js';
import { ARCHIVED, SOURCE_CHARACTERS_MAX, USAGE, type UsageData } from '../../../shared/messages/usage.js';
import type { JudgedEvent, RefusedEvent } from '../../engine/archive.js';
import { UnknownEntryError } from '../../engine/unknown-entry-error.js';
import { type Customer, type Customers, isId, isText } from './customers.js';

/** A row of usage_events. Times in ms since the epoch. */
export interface UsageRow {
  readonly event: JudgedEvent;
  readonly customer: Customer;
  readonly acceptedAt: number;
  readonly entrySeq: number;
  readonly eventAt: number;
  readonly windowStart: number;
  readonly status: 'accepted' | 'late' | 'duplicate' | 'dead';
  /** 0: it counts in no window; or it is cold, and the correction that counts it is not made yet. */
  revision: number;
  readonly usage: UsageData;
  readonly source: string | null;
  /** JSON. */
  readonly metadata: string;
}

const INTEGER_MAX = 2 ** 31 - 1;
const SMALLINT_MAX = 2 ** 15 - 1;
/** The end of the year 9999. */
const TIME_MS_MAX = 253_402_300_799_999;
const NO_USAGE: UsageData = ['', 0, 0, 0, null, null];
const NO_METADATA = '{}';

/**
 * Makes rows of judged events. What Postgres cannot have is refused here where that is cheap to see; only a producer
 * that writes to the stream itself gets that far.
 *
 * Of dead events and of duplicates only a trace is kept, as far as there is one: the dead letter, and the event that
 * came first, have the rest.
 */
export class UsageRowReader {
  /** Events of which not even a trace can be kept. */
  skipped = 0;
  private entry = '';
  private acceptedAt = 0;
  private entrySeq = 0;

  constructor(
    private readonly customers: Customers,
    private readonly windowMs: number,
  ) {}

  /** Undefined: nothing is to be stored. @throws UnknownEntryError for what only a newer fold can have accepted */
  read(event: JudgedEvent): UsageRow | RefusedEvent | undefined {
    const { message, judgement, index } = event;
    if (message.type !== USAGE) {
      if (message.type === ARCHIVED || isOnlyTrace(event)) return undefined;
      throw new UnknownEntryError({ id: event.entry, type: message.type });
    }
    const onlyTrace = isOnlyTrace(event);
    const customer = this.customers.of(message.tenant, message.subject);
    if (customer === undefined || !isId(message.id)) {
      return this.refuse(event, 'the tenant, the customer or the event id is none', onlyTrace);
    }
    if (!isSource(message.source)) return this.refuse(event, 'the source is none', onlyTrace);
    if (!this.locate(event.entry) || index > SMALLINT_MAX) {
      return this.refuse(event, 'its place in the stream is out of range', onlyTrace);
    }
    const { acceptedAt, entrySeq } = this;
    const source = message.source ?? null;
    const status = judgement === 'cold' ? 'late' : judgement;
    // Written out, because a spread of objects takes as long as all the rest.
    try {
      const { timestamp, data } = usageEventOf(message);
      if (!isText(data[0]) || (data[4] !== null && !isText(data[4]))) throw new Error('a name is not text');
      return {
        event,
        customer,
        acceptedAt,
        entrySeq,
        eventAt: timestamp,
        windowStart: windowStart(timestamp, this.windowMs),
        status,
        revision: event.revision,
        usage: data,
        source,
        metadata: onlyTrace || data[6] === undefined ? NO_METADATA : JSON.stringify(data[6]),
      };
    } catch (error) {
      if (!onlyTrace) return this.refuse(event, (error as Error).message, false);
    }
    const eventAt = isTime(message.timestamp) ? message.timestamp : acceptedAt;
    return {
      event,
      customer,
      acceptedAt,
      entrySeq,
      eventAt,
      windowStart: windowStart(eventAt, this.windowMs),
      status,
      revision: 0,
      usage: NO_USAGE,
      source,
      metadata: NO_METADATA,
    };
  }

  private refuse(event: JudgedEvent, error: string, onlyTrace: boolean): RefusedEvent | undefined {
    if (!onlyTrace) return { event, error };
    this.skipped += 1;
    return undefined;
  }

  /** Reads the entry id; neighbours have the same. */
  private locate(entry: string): boolean {
    if (entry !== this.entry) {
      const dash = entry.indexOf('-');
      this.acceptedAt = Number(entry.slice(0, dash));
      this.entrySeq = Number(entry.slice(dash + 1));
      this.entry = entry;
    }
    return isTime(this.acceptedAt) && this.entrySeq <= INTEGER_MAX;
  }
}

export function isOnlyTrace({ judgement }: JudgedEvent): boolean {
  return judgement === 'dead' || judgement === 'duplicate';
}

function isSource(source: string | undefined): boolean {
  return source === undefined || (isText(source) && source.length <= 2 * SOURCE_CHARACTERS_MAX);
}

export function isTime(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0 && (value as number) <= TIME_MS_MAX;
}
