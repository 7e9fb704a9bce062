import type { AggregationData } from '../../shared/postgres/schema.js';
import type { Snapshot } from './archive-snapshot.js';
import { type Place, textOrNull, type WindowKey } from './window-key.js';
import { namedSums, sketchedIn, type WindowSums } from './window-sums.js';

/** A window as Postgres has it. */
export interface WindowRow {
  readonly asOf: Place;
  readonly sums: WindowSums;
}

/**
 * Served by aggregation_windows' unique index (tenant_id, customer_id, window_start). As text, because what should be
 * an exact integer may be anything here, and has to be reported, not refused.
 */
const READ_ROWS = `
SELECT k.n, w.total_calls::text AS calls, w.total_tokens::text AS tokens,
  w.total_input_tokens::text AS input_tokens, w.total_output_tokens::text AS output_tokens,
  w.latency_count::text, w.latency_sum_us::text, w.late_events::text AS late, w.aggregation_data AS data,
  w.as_of_at, w.as_of_seq, w.as_of_index
FROM unnest($1::text[], $2::bigint[], $3::timestamptz[]) WITH ORDINALITY AS k(tenant, customer, start, n)
JOIN aggregation_windows w
  ON w.tenant_id = k.tenant AND w.customer_id = k.customer AND w.window_start = k.start`;

interface StoredRow {
  /** From 1; a bigint. */
  readonly n: number;
  readonly calls: string;
  readonly tokens: string;
  readonly input_tokens: string;
  readonly output_tokens: string;
  readonly latency_count: string;
  readonly latency_sum_us: string;
  readonly late: string;
  readonly data: AggregationData;
  readonly as_of_at: Date;
  readonly as_of_seq: number;
  readonly as_of_index: number;
}

/** @returns in the order of the keys; undefined: no such window */
export async function readRows(
  snapshot: Snapshot,
  keys: readonly WindowKey[],
): Promise<(WindowRow | undefined)[]> {
  const found = new Array<WindowRow | undefined>(keys.length).fill(undefined);
  const rows = await snapshot.query<StoredRow>(READ_ROWS, [
    keys.map(({ tenant }) => textOrNull(tenant)),
    keys.map(({ customerId }) => customerId),
    keys.map(({ start }) => new Date(start)),
  ]);
  for (const row of rows) found[Number(row.n) - 1] = windowRow(row);
  return found;
}

function windowRow(row: StoredRow): WindowRow {
  const { endpoints = [], models = [], latency = [] } = row.data as Partial<AggregationData>;
  return {
    asOf: { entry: `${row.as_of_at.getTime()}-${row.as_of_seq}`, index: row.as_of_index },
    sums: {
      calls: Number(row.calls),
      tokens: Number(row.tokens),
      inputTokens: Number(row.input_tokens),
      outputTokens: Number(row.output_tokens),
      latencyCount: Number(row.latency_count),
      latencySumUs: Number(row.latency_sum_us),
      late: Number(row.late),
      endpoints: namedSums(endpoints),
      models: namedSums(models),
      sketched: sketchedIn(latency),
    },
  };
}
