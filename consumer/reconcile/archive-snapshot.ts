import type pg from 'pg';
import { ARCHIVE } from '../../shared/keys.js';
import { FIRST_POSITION } from '../engine/head.js';
import { withClient } from '../maintenance/abortable-client.js';
import { RETENTION_SINK } from '../maintenance/retention.js';

/** How far the archive has written one partition. */
export interface ArchivePosition {
  /** Stream entry up to which every message is in `usage_events`. */
  readonly stream: string;
  /** Outbox entry up to which every emission is in `aggregation_windows`. */
  readonly outbox: string;
}

export interface ArchiveState {
  /** Partition index of the topic `usage` → position. */
  readonly positions: ReadonlyMap<number, ArchivePosition>;
  /** Raw events accepted before this are dropped, ms; 0: none ever was. */
  readonly droppedBefore: number;
}

/** What the queries of the reconciler are asked through: one moment of Postgres. */
export interface Snapshot {
  query<Row extends pg.QueryResultRow>(text: string, values: readonly unknown[]): Promise<Row[]>;
}

export interface SnapshotOptions {
  /** Of the role weir_sink, which sees all tenants. */
  readonly pool: pg.Pool;
  /** The server ends a statement that takes longer. */
  readonly statementMsMax: number;
  /** When aborted the connection is closed, and with it the statement under way. */
  readonly signal: AbortSignal;
}

/**
 * Runs `work` on one unchanging view of Postgres: a row, the raw events it is made of and the archive's position were
 * all committed together or not at all, so what it compares belongs together. Nothing can be written.
 */
export function withSnapshot<T>(
  { pool, statementMsMax, signal }: SnapshotOptions,
  work: (snapshot: Snapshot) => Promise<T>,
): Promise<T> {
  return withClient(pool, signal, async (client) => {
    await client.query(
      `BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL statement_timeout = ${statementMsMax}`,
    );
    const result = await work({
      query: async <Row extends pg.QueryResultRow>(text: string, values: readonly unknown[]) =>
        (await client.query<Row>(text, [...values])).rows,
    });
    await client.query('COMMIT');
    return result;
  });
}

/** Served by sink_positions_pkey. */
export async function readArchiveState(snapshot: Snapshot): Promise<ArchiveState> {
  const rows = await snapshot.query<{
    sink: string;
    stream: string;
    outbox_id: string;
    stream_position: string;
  }>('SELECT sink, stream, outbox_id, stream_position FROM sink_positions WHERE sink = ANY ($1)', [
    [ARCHIVE, RETENTION_SINK],
  ]);
  const positions = new Map<number, ArchivePosition>();
  let droppedBefore = 0;
  for (const { sink, stream, outbox_id, stream_position } of rows) {
    const partition = /^usage\.(\d+)$/.exec(stream)?.[1];
    if (sink === RETENTION_SINK && stream === 'usage') droppedBefore = msOf(stream_position);
    else if (partition !== undefined) {
      positions.set(Number(partition), { stream: stream_position, outbox: outbox_id });
    }
  }
  return { positions, droppedBefore };
}

export function positionOf(state: ArchiveState, partition: number): string {
  return state.positions.get(partition)?.stream ?? FIRST_POSITION;
}

/** The milliseconds of an entry id. */
export function msOf(entry: string): number {
  return Number.parseInt(entry, 10);
}
