import { RETENTION_SINK } from '../../maintenance/retention.js';
import { msOf, type Snapshot } from '../archive-snapshot.js';

/** Entries of the ledger before this are dropped, ms; 0: none ever was. Served by sink_positions_pkey. */
export async function readLedgerBegin(snapshot: Snapshot): Promise<number> {
  const [row] = await snapshot.query<{ stream_position: string }>(
    'SELECT stream_position FROM sink_positions WHERE sink = $1 AND stream = $2',
    [RETENTION_SINK, 'admissions'],
  );
  return row === undefined ? 0 : msOf(row.stream_position);
}
