import pg from 'pg';
import { meanMs, type NamedFigures, sortedByName, type WindowFigures } from './usage-recount.js';

/** Read as the owner of the database, who is bound by no policy. Every number is one that JavaScript takes. */
const WINDOWS = `
  SELECT w.tenant_id AS tenant, c.external_id AS customer,
    (extract(epoch FROM w.window_start) * 1000)::float8 AS start,
    w.total_calls::float8 AS calls, w.total_tokens::float8 AS tokens,
    w.total_input_tokens::float8 AS "inputTokens", w.total_output_tokens::float8 AS "outputTokens",
    w.latency_count::float8 AS "latencyCount", w.latency_sum_us::float8 AS "latencySumUs",
    w.aggregation_data AS data
  FROM aggregation_windows w JOIN customers c ON c.id = w.customer_id`;

/** The window by the event's own time, not by the column `window_start`. */
const EVENTS = `
  SELECT e.tenant_id AS tenant, c.external_id AS customer,
    (extract(epoch FROM e.event_at) * 1000)::float8 AS at, e.endpoint, e.model,
    e.tokens::float8 AS tokens, e.input_tokens::float8 AS "inputTokens", e.output_tokens::float8 AS "outputTokens",
    e.latency_us::float8 AS "latencyUs"
  FROM usage_events e JOIN customers c ON c.id = e.customer_id
  WHERE e.status IN ('accepted', 'late')`;

const STATUSES = 'SELECT status, count(*)::float8 AS count FROM usage_events GROUP BY status';

const COUNTED_TWICE = `
  SELECT tenant_id, customer_id, event_id FROM usage_events WHERE status IN ('accepted', 'late')
  GROUP BY 1, 2, 3 HAVING count(*) > 1 LIMIT 10`;

/** Accepted so long after their own time that Redis cannot have had their window. */
const COLD = `
  SELECT count(*)::float8 AS count FROM usage_events
  WHERE status = 'late' AND accepted_at - event_at > interval '10 minutes'`;

interface StoredRow {
  readonly tenant: string;
  readonly customer: string;
  readonly start: number;
  readonly calls: number;
  readonly tokens: number;
  readonly inputTokens: number;
  readonly outputTokens: number;
  readonly latencyCount: number;
  readonly latencySumUs: number;
  readonly data: { readonly endpoints: readonly NamedFigures[]; readonly models: readonly NamedFigures[] };
}

interface EventRow {
  readonly tenant: string;
  readonly customer: string;
  readonly at: number;
  readonly endpoint: string;
  readonly model: string | null;
  readonly tokens: number;
  readonly inputTokens: number;
  readonly outputTokens: number;
  readonly latencyUs: number | null;
}

/** What Postgres holds of usage, read past weir. */
export class UsageRows {
  private constructor(
    private readonly windows: readonly StoredRow[],
    private readonly events: readonly EventRow[],
    readonly statuses: ReadonlyMap<string, number>,
    /** Some events that are counted more than once: there must be none. */
    readonly countedTwice: readonly unknown[],
    /** Events for windows that Redis no longer had. */
    readonly cold: number,
  ) {}

  static async read(url: string): Promise<UsageRows> {
    const client = new pg.Client({ connectionString: url });
    await client.connect();
    try {
      const { rows: windows } = await client.query<StoredRow>(WINDOWS);
      const { rows: events } = await client.query<EventRow>(EVENTS);
      const { rows: statuses } = await client.query<{ status: string; count: number }>(STATUSES);
      const { rows: countedTwice } = await client.query(COUNTED_TWICE);
      const { rows: cold } = await client.query<{ count: number }>(COLD);
      const byStatus = new Map(statuses.map(({ status, count }) => [status, count]));
      return new UsageRows(windows, events, byStatus, countedTwice, cold[0]!.count);
    } finally {
      await client.end();
    }
  }

  /** Windows as they are stored: `tenant customer start` → figures, sorted. */
  stored(): Map<string, WindowFigures> {
    return sorted(
      this.windows.map(({ tenant, customer, start, latencyCount, latencySumUs, data, ...sums }) => [
        `${tenant} ${customer} ${start}`,
        {
          ...sums,
          avgLatencyMs: meanMs(latencySumUs, latencyCount),
          endpoints: sortedByName(data.endpoints),
          models: sortedByName(data.models),
        },
      ]),
    );
  }

  /** Windows as the raw events say they should be, likewise. */
  counted(windowMs: number): Map<string, WindowFigures> {
    const byWindow = new Map<string, EventRow[]>();
    for (const event of this.events) {
      const key = `${event.tenant} ${event.customer} ${event.at - (event.at % windowMs)}`;
      const events = byWindow.get(key) ?? [];
      if (events.length === 0) byWindow.set(key, events);
      events.push(event);
    }
    return sorted([...byWindow].map(([key, events]) => [key, sum(events)]));
  }
}

function sum(events: readonly EventRow[]): WindowFigures {
  const total = (of: (event: EventRow) => number) => events.reduce((so, event) => so + of(event), 0);
  const latencies = events.flatMap(({ latencyUs }) => latencyUs ?? []);
  return {
    calls: events.length,
    tokens: total(({ tokens }) => tokens),
    inputTokens: total(({ inputTokens }) => inputTokens),
    outputTokens: total(({ outputTokens }) => outputTokens),
    avgLatencyMs: meanMs(
      latencies.reduce((so, latency) => so + latency, 0),
      latencies.length,
    ),
    endpoints: named(events, ({ endpoint }) => endpoint),
    models: named(events, ({ model }) => model),
  };
}

function named(events: readonly EventRow[], nameOf: (event: EventRow) => string | null): NamedFigures[] {
  const found = new Map<string, NamedFigures>();
  for (const event of events) {
    const name = nameOf(event);
    if (name === null) continue;
    const [, calls, tokens] = found.get(name) ?? [name, 0, 0];
    found.set(name, [name, calls + 1, tokens + event.tokens]);
  }
  return sortedByName(found.values());
}

function sorted<T>(entries: readonly (readonly [string, T])[]): Map<string, T> {
  return new Map([...entries].sort(([a], [b]) => (a < b ? -1 : 1)));
}
