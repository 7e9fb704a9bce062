import { partitionName } from '../../topics.js';
import { messagePosition } from '../../usage/usage-window.js';
import type { TenantTransaction } from '../tenant-context.js';
import { ofCustomer, ofEvent, ofTenant } from './usage-filters.js';

/** What became of one event. Times in ms since the epoch. */
export interface Receipt {
  readonly customer: string;
  readonly status: 'accepted' | 'late' | 'dead';
  readonly windowStart: number;
  /** The revision of its window in which it was counted; 0: in none. */
  readonly windowRevision: number;
  /** How often the same customer sent the same id again. */
  readonly duplicates: number;
  readonly acceptedAt: number;
  readonly position: string;
}

/**
 * The receipt of an event; undefined where the archive has none (yet). What counted wins over what is dead (a dead
 * letter that was replayed), then the earliest; duplicates alone make no receipt: what they repeat is not archived
 * (any more). One statement, so that the number of duplicates belongs to the row.
 *
 * Served by usage_events' index (tenant_id, event_id), in each day's table, and customers' primary key.
 *
 * @param customer tells customers that use the same id apart; undefined: any
 */
export async function findReceipt(
  trx: TenantTransaction,
  eventId: string,
  customer: string | undefined,
): Promise<Receipt | undefined> {
  const row = await trx
    .selectFrom('usage_events')
    .select((eb) => [
      'accepted_at',
      'partition',
      'entry_seq',
      'message_index',
      'status',
      'window_start',
      'window_revision',
      eb
        .selectFrom('customers')
        .select('customers.external_id')
        .whereRef('customers.tenant_id', '=', 'usage_events.tenant_id')
        .whereRef('customers.id', '=', 'usage_events.customer_id')
        .as('customer'),
      eb
        .selectFrom('usage_events as again')
        .select((inner) => inner.fn.countAll<number>().as('count'))
        .whereRef('again.tenant_id', '=', 'usage_events.tenant_id')
        .whereRef('again.event_id', '=', 'usage_events.event_id')
        .whereRef('again.customer_id', '=', 'usage_events.customer_id')
        .where('again.status', '=', 'duplicate')
        .as('duplicates'),
    ])
    .where(ofTenant())
    .where(ofEvent(eventId))
    .where('status', '!=', 'duplicate')
    .$if(customer !== undefined, (query) => query.where(ofCustomer(customer!)))
    .orderBy((eb) => eb('status', '=', 'dead'))
    .orderBy('accepted_at')
    .orderBy('entry_seq')
    .orderBy('message_index')
    .limit(1)
    .executeTakeFirst();
  if (row === undefined || row.status === 'duplicate') return undefined;
  const acceptedAt = row.accepted_at.getTime();
  const partition = partitionName({ topic: 'usage', index: row.partition });
  return {
    customer: row.customer!,
    status: row.status,
    windowStart: row.window_start.getTime(),
    windowRevision: row.window_revision,
    duplicates: row.duplicates!,
    acceptedAt,
    position: messagePosition(partition, `${acceptedAt}-${row.entry_seq}`, row.message_index),
  };
}
