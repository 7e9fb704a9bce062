import { FIRST_POSITION } from '../../engine/head.js';
import type { Transaction } from './transaction.js';

const SELECT = 'SELECT outbox_id FROM sink_positions WHERE sink = $1 AND stream = $2 FOR UPDATE';

/**
 * Where the sink is with this stream: the last outbox entry written; undefined: it has never written. Until the
 * transaction ends no other sink may write of this stream.
 */
export async function lockPosition(
  tx: Transaction,
  sink: string,
  stream: string,
): Promise<string | undefined> {
  let [row] = await tx.query<{ outbox_id: string }>(SELECT, [sink, stream]);
  if (row === undefined) {
    await tx.query(
      `INSERT INTO sink_positions (sink, stream, outbox_id, stream_position) VALUES ($1, $2, $3, $3)
       ON CONFLICT DO NOTHING`,
      [sink, stream, FIRST_POSITION],
    );
    [row] = await tx.query<{ outbox_id: string }>(SELECT, [sink, stream]);
  }
  return row === undefined || row.outbox_id === FIRST_POSITION ? undefined : row.outbox_id;
}

/** The row is locked. */
export async function movePosition(
  tx: Transaction,
  sink: string,
  stream: string,
  { to, position }: { readonly to: string; readonly position: string },
): Promise<void> {
  await tx.query(
    'UPDATE sink_positions SET outbox_id = $3, stream_position = $4 WHERE sink = $1 AND stream = $2',
    [sink, stream, to, position],
  );
}
