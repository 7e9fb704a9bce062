import type pg from 'pg';
import type { Topic } from '../../shared/topics.js';
import { withClient } from './abortable-client.js';
import type { FleetTask } from './fleet-schedule.js';

/**
 * In sink_positions, streams `usage` and `admissions`: the raw events, or the entries of the ledger, before this stream
 * position are dropped. Whoever compares sums with them has to know where they begin.
 */
export const RETENTION_SINK = 'retention';

const INTERVAL_MS = 3_600_000;

/**
 * A day is dropped when all of it is a day older than the retention: an event may be as old as the retention when it
 * is accepted, and the events of its window have to be there still. By the clock of Postgres: that of a worker which
 * runs ahead would cost data. The mark and the drop are one transaction.
 */
const dropSql = (drop: string, stream: Topic): string => `
WITH dropped AS (
  SELECT horizon, ${drop}(horizon) AS partitions
  FROM (SELECT (now() AT TIME ZONE 'UTC')::date - ($1::integer + 1) AS horizon) AS policy
), noted AS (
  INSERT INTO sink_positions AS mine (sink, stream, outbox_id, stream_position)
  SELECT '${RETENTION_SINK}', '${stream}', '0-0',
    (extract(epoch FROM horizon::timestamp AT TIME ZONE 'UTC') * 1000)::bigint || '-0'
  FROM dropped WHERE partitions > 0
  ON CONFLICT (sink, stream) DO UPDATE SET stream_position = excluded.stream_position
  WHERE split_part(mine.stream_position, '-', 1)::bigint < split_part(excluded.stream_position, '-', 1)::bigint
)
SELECT partitions FROM dropped`;

/**
 * Drops raw usage events that are older than the retention, in whole days. Windows are kept for ever. Fails where a
 * long query on usage_events holds it up for 2 s, because all other queries wait behind it: the next try may do better.
 */
export function retention(pool: pg.Pool, retentionDays: number): FleetTask {
  return retentionTask('retention', pool, dropSql('drop_usage_partitions', 'usage'), retentionDays);
}

/** Drops entries of the budget ledger that are older than its retention, likewise. Windows and versions are kept. */
export function ledgerRetention(pool: pg.Pool, retentionDays: number): FleetTask {
  const drop = dropSql('drop_ledger_partitions', 'admissions');
  return retentionTask('ledger-retention', pool, drop, retentionDays);
}

function retentionTask(name: string, pool: pg.Pool, drop: string, retentionDays: number): FleetTask {
  return {
    name,
    intervalMs: INTERVAL_MS,
    async run(signal) {
      const { rows } = await withClient(pool, signal, (client) =>
        client.query<{ partitions: number }>(drop, [retentionDays]),
      );
      return { droppedPartitions: rows[0]?.partitions ?? 0 };
    },
  };
}
