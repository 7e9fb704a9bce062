import type pg from 'pg';
import { withClient } from './abortable-client.js';
import type { FleetTask } from './fleet-schedule.js';

/**
 * In sink_positions, stream `usage`: the raw events before this stream position are dropped. Whoever compares windows
 * with raw events has to know where those begin.
 */
export const RETENTION_SINK = 'retention';

const INTERVAL_MS = 3_600_000;

/**
 * A day is dropped when all of it is a day older than the retention: an event may be as old as the retention when it
 * is accepted, and the events of its window have to be there still. By the clock of Postgres: that of a worker which
 * runs ahead would cost data. The mark and the drop are one transaction.
 */
const DROP = `
WITH dropped AS (
  SELECT horizon, drop_usage_partitions(horizon) AS partitions
  FROM (SELECT (now() AT TIME ZONE 'UTC')::date - ($1::integer + 1) AS horizon) AS policy
), noted AS (
  INSERT INTO sink_positions AS mine (sink, stream, outbox_id, stream_position)
  SELECT '${RETENTION_SINK}', 'usage', '0-0',
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
  return {
    name: 'retention',
    intervalMs: INTERVAL_MS,
    async run(signal) {
      const { rows } = await withClient(pool, signal, (client) =>
        client.query<{ partitions: number }>(DROP, [retentionDays]),
      );
      return { droppedPartitions: rows[0]?.partitions ?? 0 };
    },
  };
}
