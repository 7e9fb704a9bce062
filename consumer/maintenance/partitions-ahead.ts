import type pg from 'pg';
import { withClient } from './abortable-client.js';
import type { FleetTask } from './fleet-schedule.js';

const INTERVAL_MS = 3_600_000;
/** A fleet that cannot reach Postgres' catalog for so long has other worries than midnight. */
const DAYS_AHEAD = 3;

/** One of yesterday too: what happens before midnight is written after it. */
const ENSURE = `
SELECT count(ensure_usage_partition(day)), count(ensure_ledger_partition(day))
FROM (SELECT (now() AT TIME ZONE 'UTC')::date + ahead AS day FROM generate_series(-1, $1::integer) AS ahead) AS days`;

/** Makes the tables of the coming days, so that no sink has to do it at midnight. */
export function partitionsAhead(pool: pg.Pool): FleetTask {
  return {
    name: 'partitions-ahead',
    intervalMs: INTERVAL_MS,
    async run(signal) {
      await withClient(pool, signal, (client) => client.query(ENSURE, [DAYS_AHEAD]));
      return { daysAhead: DAYS_AHEAD };
    },
  };
}
