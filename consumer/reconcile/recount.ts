import { FUTURE_MS_MAX, OTHER } from '../../shared/messages/usage.js';
import type { Usage } from '../../shared/state/metering-state.js';
import { isText } from '../sinks/postgres/customers.js';
import { msOf, type Snapshot } from './archive-snapshot.js';
import { type Place, textOrNull, type WindowKey } from './window-key.js';
import { NO_SUMS, type WindowSums } from './window-sums.js';

/** Somebody says of a window: these are the sums of all its events up to `asOf`. */
export interface Claim {
  readonly key: WindowKey;
  readonly asOf: Place;
  /** How many events it says there are. */
  readonly calls: number;
  /** Names that are to be counted by themselves; all others are `__other__`. */
  readonly endpoints: readonly string[];
  readonly models: readonly string[];
  /** Events after `asOf` are overdue when they were accepted before this, ms; 0: none is. */
  readonly overdueBefore: number;
}

/** What the raw events say to it. */
export interface Recounted {
  readonly sums: WindowSums;
  /** Events that `asOf` should have reached. */
  readonly overdue: number;
}

/** Between the clocks of the API, which refuses what is too far in the future, and of Redis, which dates entries. */
const CLOCK_SKEW_MS_MAX = 3_600_000;

/**
 * The events of a window lie together in usage_events_window (tenant_id, customer_id, window_start) of each day; the
 * bound on accepted_at leaves out the days before. One pass gives the sums and, of what is after `asOf`, what is
 * overdue. The values of a place are compared as a row: milliseconds, sequence, index.
 */
const RECOUNT = `
WITH counted AS (
  SELECT c.n, e.status, e.tokens, e.input_tokens, e.output_tokens, e.latency_us,
    (e.accepted_at, e.entry_seq, e.message_index) <= (c.at, c.seq, c.index) AS within,
    e.accepted_at < c.overdue_before AS due,
    CASE WHEN e.endpoint = ANY (c.endpoints) THEN e.endpoint ELSE $3 END AS endpoint,
    CASE WHEN e.model = ANY (c.models) OR e.model IS NULL THEN e.model ELSE $3 END AS model
  FROM jsonb_to_recordset($1::jsonb) AS c(n integer, tenant text, customer bigint, start timestamptz,
    at timestamptz, seq bigint, index integer, overdue_before timestamptz, endpoints text[], models text[])
  JOIN usage_events e
    ON e.tenant_id = c.tenant AND e.customer_id = c.customer AND e.window_start = c.start
  WHERE e.status IN ('accepted', 'late') AND e.accepted_at >= $2
)
SELECT n, GROUPING(endpoint) = 0 AS is_endpoint, GROUPING(model) = 0 AS is_model, endpoint, model,
  count(*) FILTER (WHERE within) AS calls,
  sum(tokens) FILTER (WHERE within) AS tokens,
  sum(input_tokens) FILTER (WHERE within) AS input_tokens,
  sum(output_tokens) FILTER (WHERE within) AS output_tokens,
  count(latency_us) FILTER (WHERE within) AS latency_count,
  sum(latency_us) FILTER (WHERE within) AS latency_sum_us,
  count(*) FILTER (WHERE within AND status = 'late') AS late,
  count(*) FILTER (WHERE NOT within AND due) AS overdue
FROM counted
GROUP BY GROUPING SETS ((n), (n, endpoint), (n, model))`;

/** `sum` is numeric: text, or null where there was nothing to add. */
interface RecountRow {
  readonly n: number;
  readonly is_endpoint: boolean;
  readonly is_model: boolean;
  readonly endpoint: string | null;
  readonly model: string | null;
  readonly calls: number;
  readonly tokens: string | null;
  readonly input_tokens: string | null;
  readonly output_tokens: string | null;
  readonly latency_count: number;
  readonly latency_sum_us: string | null;
  readonly late: number;
  readonly overdue: number;
}

/** Events that one statement adds up, about: a second's work. */
const EVENTS_PER_STATEMENT = 500_000;

/** Adds up the raw events of each claim. @returns in the order of the claims */
export async function recount(snapshot: Snapshot, claims: readonly Claim[]): Promise<Recounted[]> {
  const recounted: Recounted[] = [];
  for (let begin = 0; begin < claims.length; ) {
    let end = begin + 1;
    let events = claims[begin]!.calls;
    for (; end < claims.length && events + claims[end]!.calls <= EVENTS_PER_STATEMENT; end += 1) {
      events += claims[end]!.calls;
    }
    recounted.push(...(await recountTogether(snapshot, claims.slice(begin, end))));
    begin = end;
  }
  return recounted;
}

async function recountTogether(snapshot: Snapshot, claims: readonly Claim[]): Promise<Recounted[]> {
  const rows = await snapshot.query<RecountRow>(RECOUNT, [
    JSON.stringify(claims.map(parameters)),
    new Date(acceptedFrom(Math.min(...claims.map(({ key }) => key.start)))),
    OTHER,
  ]);
  const all = claims.map(() => new Sums());
  for (const row of rows) all[row.n]!.add(row);
  return all.map((sums) => sums.result());
}

/** No event of a window that begins at `start` was accepted before this, ms. */
export function acceptedFrom(start: number): number {
  return start - FUTURE_MS_MAX - CLOCK_SKEW_MS_MAX;
}

/**
 * No raw event has a name that is no text for Postgres, so there is nothing to ask for: what a window counts under it is
 * a difference.
 */
function parameters({ key, asOf, endpoints, models, overdueBefore }: Claim, n: number): object {
  return {
    ...{ n, tenant: textOrNull(key.tenant), customer: key.customerId, start: iso(key.start) },
    ...{ at: iso(msOf(asOf.entry)), seq: Number(asOf.entry.split('-')[1]), index: asOf.index },
    ...{ overdue_before: iso(overdueBefore) },
    ...{ endpoints: endpoints.filter(isText), models: models.filter(isText) },
  };
}

function iso(ms: number): string {
  return new Date(ms).toISOString();
}

class Sums {
  private whole: Omit<WindowSums, 'endpoints' | 'models'> = NO_SUMS;
  private overdue = 0;
  private readonly endpoints = new Map<string, Usage>();
  private readonly models = new Map<string, Usage>();

  add(row: RecountRow): void {
    const tokens = Number(row.tokens ?? 0);
    if (row.is_endpoint || row.is_model) {
      const name = row.is_endpoint ? row.endpoint : row.model;
      // Events without a model are in no model; a name of which all events are later is not there yet.
      if (name === null || row.calls === 0) return;
      (row.is_endpoint ? this.endpoints : this.models).set(name, { calls: row.calls, tokens });
      return;
    }
    this.overdue = row.overdue;
    this.whole = {
      ...{ calls: row.calls, tokens, late: row.late, latencyCount: row.latency_count },
      inputTokens: Number(row.input_tokens ?? 0),
      outputTokens: Number(row.output_tokens ?? 0),
      latencySumUs: Number(row.latency_sum_us ?? 0),
    };
  }

  result(): Recounted {
    return {
      sums: { ...this.whole, endpoints: this.endpoints, models: this.models },
      overdue: this.overdue,
    };
  }
}
