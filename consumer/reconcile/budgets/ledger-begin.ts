import { RETENTION_SINK } from '../../maintenance/retention.js';
import { msOf, type Snapshot, type SnapshotOptions, withSnapshot } from '../archive-snapshot.js';

/** Entries of the ledger before this are dropped, ms; 0: none ever was. Served by sink_positions_pkey. */
export async function readLedgerBegin(snapshot: Snapshot): Promise<number> {
  const [row] = await snapshot.query<{ stream_position: string }>(
    'SELECT stream_position FROM sink_positions WHERE sink = $1 AND stream = $2',
    [RETENTION_SINK, 'admissions'],
  );
  return row === undefined ? 0 : msOf(row.stream_position);
}

/**
 * The same, asked after a comparison that found something: a table that is dropped is gone from snapshots that were
 * taken before, too. What began earlier than this proves nothing.
 */
export function readLedgerBeginAfter(options: SnapshotOptions): Promise<number> {
  return withSnapshot(options, readLedgerBegin);
}
