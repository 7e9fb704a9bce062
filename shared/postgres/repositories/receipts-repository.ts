import { sql } from 'kysely';
import { partitionName } from '../../topics.js';
import { messagePosition } from '../../usage/usage-window.js';
import { currentTenant, type TenantTransaction } from '../tenant-context.js';

/** One time that an event counted, or that it died. Times in ms since the epoch. */
export interface ReceiptEntry {
  readonly status: 'accepted' | 'late' | 'dead';
  readonly windowStart: number;
  /** The revision of its window in which it was counted; 0: in none. */
  readonly windowRevision: number;
  readonly tokens: number;
  readonly acceptedAt: number;
  readonly position: string;
}

/** What became of one event. */
export interface Receipt {
  readonly customer: string;
  /** null: it had none. */
  readonly source: string | null;
  /** What counted before what is dead (a dead letter that was replayed), then by acceptance; the first COUNTS_MAX. */
  readonly entries: readonly [ReceiptEntry, ...ReceiptEntry[]];
  /** How often it counted: again, where the id came back after it was forgotten. */
  readonly counted: number;
  /** How often the same customer sent it again without its being counted. */
  readonly duplicates: number;
}

/** Which events of an id are meant. */
export interface ReceiptFilter {
  /** undefined: of any customer */
  readonly customer: string | undefined;
  /** undefined: of any source, or of none; null: of none. */
  readonly source: string | null | undefined;
}

const COUNTS_MAX = 100;
const RECEIPTS_MAX = 1000;

interface FoundRow {
  readonly customer: string;
  readonly source: string | null;
  readonly counted: number;
  readonly duplicates: number;
  readonly entries: readonly [
    status: ReceiptEntry['status'],
    windowStart: number,
    windowRevision: number,
    tokens: number,
    acceptedAt: number,
    partition: number,
    entrySeq: number,
    messageIndex: number,
  ][];
}

/**
 * The receipts of an event id, by customer and source: the first RECEIPTS_MAX. Duplicates alone make no receipt: what
 * they repeat is not archived (any more). One statement, so that the numbers belong together.
 *
 * Served by usage_events_receipt (tenant_id, event_id), in each day's table, and customers' primary key. `+ 0` keeps the
 * index of windows out: in a day that has no statistics yet it would read all events of the customer.
 */
export async function findReceipts(
  trx: TenantTransaction,
  eventId: string,
  { customer, source }: ReceiptFilter,
): Promise<readonly Receipt[]> {
  const tenant = currentTenant();
  const ofCustomer =
    customer === undefined
      ? sql``
      : sql`AND customer_id + 0 = (SELECT id FROM customers WHERE tenant_id = ${tenant} AND external_id = ${customer})`;
  const ofSource =
    source === undefined ? sql`` : source === null ? sql`AND source IS NULL` : sql`AND source = ${source}`;
  const { rows } = await sql<FoundRow>`
    SELECT c.external_id AS customer, e.source, e.counted, e.duplicates, e.entries
    FROM (
      SELECT customer_id, source,
        count(*) FILTER (WHERE status IN ('accepted', 'late')) AS counted,
        count(*) FILTER (WHERE status = 'duplicate') AS duplicates,
        to_jsonb((array_agg(
          jsonb_build_array(status, (extract(epoch FROM window_start) * 1000)::bigint, window_revision, tokens,
            (extract(epoch FROM accepted_at) * 1000)::bigint, partition, entry_seq, message_index)
          ORDER BY status = 'dead', accepted_at, entry_seq, message_index
        ) FILTER (WHERE status <> 'duplicate'))[1:${sql.lit(COUNTS_MAX)}]) AS entries
      FROM usage_events
      WHERE tenant_id = ${tenant} AND event_id = ${eventId} ${ofCustomer} ${ofSource}
      GROUP BY customer_id, source
      HAVING count(*) FILTER (WHERE status <> 'duplicate') > 0
      LIMIT ${sql.lit(RECEIPTS_MAX)}
    ) AS e
    JOIN customers c ON c.id = e.customer_id
    ORDER BY c.external_id, e.source`.execute(trx);
  return rows.map(({ entries, ...row }) => ({
    ...row,
    entries: entries.map(entryOf) as [ReceiptEntry, ...ReceiptEntry[]],
  }));
}

function entryOf(found: FoundRow['entries'][number]): ReceiptEntry {
  const [status, windowStart, windowRevision, tokens, acceptedAt, index, entrySeq, messageIndex] = found;
  const position = messagePosition(
    partitionName({ topic: 'usage', index }),
    `${acceptedAt}-${entrySeq}`,
    messageIndex,
  );
  return { status, windowStart, windowRevision, tokens, acceptedAt, position };
}
