import type pg from 'pg';
import type { Logger } from '../../shared/logging.js';
import { isRestrictionChange } from '../../shared/messages/restriction-changes.js';
import { DEFAULT_TENANT } from '../../shared/topics.js';
import type { OutboxEntry, Sink } from '../engine/outbox-drain.js';
import { insertBisecting } from './postgres/bisect.js';
import { type Transaction, Transactions } from './postgres/transaction.js';

/** The primary key is the place in the outbox: what comes again is there already. */
const INSERT = `INSERT INTO restriction_changes (stream, outbox_id, tenant_id, subject, type, body, happened_at)
  SELECT $1, outbox_id, tenant_id, subject, type, body, to_timestamp(at / 1000.0)
  FROM json_to_recordset($2::json)
    AS given (outbox_id text, tenant_id text, subject text, type text, body jsonb, at double precision)
  ON CONFLICT DO NOTHING`;

/** What the outbox entries of the topic `events` have in common: `aboutUser` of rules/restrictions. */
interface Change {
  readonly tenant?: string;
  readonly user: string;
  /** ms since the epoch. */
  readonly at: number;
}

/** Keeps every change of a restriction in Postgres: who, what, which rule, why, by which events. */
export class RestrictionHistory implements Sink {
  readonly name = 'restriction-history';
  readonly topic = 'events';

  private readonly transactions: Transactions;

  /** @param pool of the role weir_sink */
  constructor(
    pool: pg.Pool,
    private readonly log: Logger,
  ) {
    this.transactions = new Transactions(pool);
  }

  knows({ type }: OutboxEntry): boolean {
    return isRestrictionChange(type);
  }

  async write(partition: string, entries: readonly OutboxEntry[]): Promise<void> {
    const refusals = await this.transactions.run((tx) =>
      insertBisecting(tx, entries, (some) => insert(tx, partition, some)),
    );
    for (const { item, error } of refusals) {
      // Once and only here, but nothing behind it waits for ever.
      this.log.error({ partition, entry: item, error }, 'Postgres refuses a restriction change');
    }
  }
}

async function insert(tx: Transaction, partition: string, entries: readonly OutboxEntry[]): Promise<void> {
  const records = entries.map(({ id, type, body }) => {
    const { tenant = DEFAULT_TENANT, user, at } = body as Change;
    return { outbox_id: id, tenant_id: tenant, subject: user, type, body, at };
  });
  await tx.query(INSERT, [partition, JSON.stringify(records)]);
}
