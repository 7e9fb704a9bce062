import { compareEntryIds } from '../engine/head.js';
import {
  msOf,
  readArchiveState,
  type Snapshot,
  type SnapshotOptions,
  withSnapshot,
} from './archive-snapshot.js';

/**
 * Events that counted although their id had counted before: it came back after it was forgotten. That is no drift, for the
 * windows say what the raw events say; but somebody may pay twice.
 */
export interface CountedAgain {
  /** Events that counted more than once. */
  readonly ids: number;
  /** How often they did so, but for the first time each. */
  readonly again: number;
  /** The first of them, by tenant and id. */
  readonly first: readonly {
    readonly tenant: string;
    readonly customer: string;
    readonly source: string | null;
    readonly eventId: string;
    readonly counted: number;
  }[];
}

/** Rows of one statement: about a second's work. */
const ROWS_MAX = 50_000;
const SHOWN_MAX = 20;
/** In a recent run: looking back further would read more of the disk than all the rest. */
const LOOK_BACK_MS_MIN = 2 * 86_400_000;
/** An id is remembered for less than two: where these are longer than two days, nothing counts again within two days. */
const LOOK_BACK_DEDUPE_WINDOWS = 3;
/** Where nothing is known of the runs before. */
const FIRST_LOOK_MS = 600_000;
const SEQ_MAX = 2 ** 31 - 1;

/**
 * Served by usage_events_receipt (tenant_id, event_id), in its order: of ids that came once nothing else is read. A page
 * ends with an id, never inside of one.
 */
const PAGE = `
WITH page AS (
  SELECT tenant_id, event_id FROM usage_events WHERE (tenant_id, event_id) > ($1, $2)
  ORDER BY tenant_id, event_id FETCH FIRST $3 ROWS WITH TIES
), more AS (
  SELECT tenant_id, event_id FROM page GROUP BY tenant_id, event_id HAVING count(*) > 1
), again AS (
  SELECT e.tenant_id, e.customer_id, e.source, e.event_id, count(*) AS counted
  FROM more JOIN usage_events e ON e.tenant_id = more.tenant_id AND e.event_id = more.event_id
  WHERE e.status IN ('accepted', 'late')
  GROUP BY e.tenant_id, e.customer_id, e.source, e.event_id
  HAVING count(*) > 1 AND max(e.window_start) >= $4
), last AS (
  SELECT tenant_id, event_id FROM page ORDER BY tenant_id DESC, event_id DESC LIMIT 1
)
SELECT last.tenant_id AS last_tenant, last.event_id AS last_id,
  (SELECT count(*) FROM again) AS ids, (SELECT coalesce(sum(counted - 1), 0)::bigint FROM again) AS again,
  a.tenant_id AS tenant, c.external_id AS customer, a.source, a.event_id AS id, a.counted
FROM last
LEFT JOIN (SELECT * FROM again ORDER BY tenant_id, event_id, customer_id, source LIMIT $5) AS a ON true
LEFT JOIN customers c ON c.id = a.customer_id
ORDER BY a.tenant_id, a.event_id, c.external_id, a.source`;

interface PageRow {
  readonly last_tenant: string;
  readonly last_id: string;
  readonly ids: number;
  readonly again: number;
  /** Null: none of the page counted again. */
  readonly tenant: string | null;
  readonly customer: string;
  readonly source: string | null;
  readonly id: string;
  readonly counted: number;
}

/** All that is kept, but for what counted last in windows that begin before `sinceMs`. */
export async function findCountedAgain(
  options: SnapshotOptions,
  sinceMs: number,
  rowsMax = ROWS_MAX,
): Promise<CountedAgain> {
  let ids = 0;
  let again = 0;
  const first: CountedAgain['first'][number][] = [];
  for (let after: readonly [tenant: string, id: string] | undefined = ['', '']; after !== undefined; ) {
    const [tenant, id]: readonly [string, string] = after;
    const rows: PageRow[] = await withSnapshot(options, async (snapshot) => {
      // Else every page of a small table would sort all the rest of it.
      await snapshot.query('SET LOCAL enable_sort = off', []);
      return snapshot.query<PageRow>(PAGE, [tenant, id, rowsMax, new Date(sinceMs), SHOWN_MAX]);
    });
    const [page] = rows;
    ids += page?.ids ?? 0;
    again += page?.again ?? 0;
    for (const row of rows) {
      if (row.tenant === null || first.length === SHOWN_MAX) continue;
      const { customer, source, counted } = row;
      first.push({ tenant: row.tenant, customer, source, eventId: row.id, counted });
    }
    after = page && [page.last_tenant, page.last_id];
  }
  return { ids, again, first };
}

/** Partition → stream entry up to which every event was looked at. */
export type LookedAt = ReadonlyMap<number, string>;

/**
 * Partition → place in the stream up to which Postgres has everything, though no entry is there: else the next event of a
 * quiet partition would make a run begin at the one before, and read all that the others had meanwhile.
 */
export type Archived = ReadonlyMap<number, string>;

/**
 * The events of the spans, by the primary key; for each that counted one look for an earlier one, by usage_events_receipt
 * of the days since `$4`. A customer's events are all of one partition, so places are an order. `+ 0` keeps the index of
 * windows out: a day that has no statistics yet looks as if a customer had as few events as an id.
 */
const RECENT = `
WITH looked_at AS (
  SELECT tenant_id, customer_id, event_id, source, status, accepted_at, partition, entry_seq, message_index
  FROM usage_events WHERE accepted_at >= $1 AND accepted_at <= $2
  ORDER BY accepted_at FETCH FIRST $3 ROWS WITH TIES
)
SELECT count(*) AS scanned, max(e.accepted_at) AS reached, count(*) FILTER (WHERE e.status IN ('accepted', 'late')
  AND (e.accepted_at, e.entry_seq) > (p.after_at, p.after_seq) AND (e.accepted_at, e.entry_seq) <= (p.to_at, p.to_seq)
  AND EXISTS (
    SELECT FROM usage_events b
    WHERE b.tenant_id = e.tenant_id AND b.event_id = e.event_id AND b.customer_id + 0 = e.customer_id
      AND b.source IS NOT DISTINCT FROM e.source AND b.status IN ('accepted', 'late')
      AND b.accepted_at >= $4 AND b.accepted_at <= e.accepted_at
      AND (b.accepted_at, b.entry_seq, b.message_index) < (e.accepted_at, e.entry_seq, e.message_index)
  )) AS again
FROM looked_at e
LEFT JOIN unnest($5::smallint[], $6::timestamptz[], $7::integer[], $8::timestamptz[], $9::integer[])
  AS p(partition, after_at, after_seq, to_at, to_seq) ON p.partition = e.partition`;

interface RecentRow {
  readonly scanned: number;
  /** Null: there are no events. */
  readonly reached: Date | null;
  readonly again: number;
}

export interface RecentRunOptions extends SnapshotOptions {
  readonly dedupeWindowMs: number;
  readonly runMsMax: number;
  readonly rowsMax?: number;
}

/**
 * How many events counted again among those that were archived since the last run, each event once. Looks for the first
 * count in the two days before, or in three dedupe windows where they are longer. What it has no time for, the next run
 * begins with; one statement it always does.
 */
export async function countRecentAgain(
  options: RecentRunOptions,
  before: LookedAt,
  archived: Archived = new Map(),
): Promise<{ readonly again: number; readonly lookedAt: LookedAt }> {
  const begunAt = performance.now();
  const { rowsMax = ROWS_MAX, runMsMax, dedupeWindowMs } = options;
  const lookBackMs = Math.max(LOOK_BACK_MS_MIN, LOOK_BACK_DEDUPE_WINDOWS * dedupeWindowMs);
  const spans = await withSnapshot(options, (snapshot) => spansOf(snapshot, before, archived));
  const news = spans.filter(({ after, to }) => compareEntryIds(after, to) < 0);
  if (news.length === 0)
    return { again: 0, lookedAt: new Map(spans.map(({ partition, after }) => [partition, after])) };
  const toMs = Math.max(...news.map(({ to }) => msOf(to)));
  let fromMs = Math.min(...news.map(({ after }) => (seqOf(after) < SEQ_MAX ? msOf(after) : msOf(after) + 1)));
  let again = 0;
  while (fromMs <= toMs) {
    const parameters = [
      new Date(fromMs),
      new Date(toMs),
      rowsMax,
      new Date(Math.max(0, fromMs - lookBackMs)),
    ];
    const [found] = await withSnapshot(options, (snapshot) =>
      snapshot.query<RecentRow>(RECENT, [...parameters, ...placesOf(news)]),
    );
    const { scanned, reached } = found!;
    again += found!.again;
    fromMs = scanned < rowsMax ? toMs + 1 : reached!.getTime() + 1;
    if (performance.now() - begunAt > runMsMax) break;
  }
  const here = `${fromMs - 1}-${SEQ_MAX}`;
  const lookedAt = spans.map(({ partition, after, to }): [number, string] => [
    ...([partition, later(after, earlier(to, here))] as const),
  ]);
  return { again, lookedAt: new Map(lookedAt) };
}

function seqOf(entry: string): number {
  return Number(entry.split('-')[1]);
}

function earlier(a: string, b: string): string {
  return compareEntryIds(a, b) < 0 ? a : b;
}

function later(a: string, b: string): string {
  return earlier(a, b) === a ? b : a;
}

/** Of the events of one partition those after `after` and up to `to`. */
interface Span {
  readonly partition: number;
  readonly after: string;
  readonly to: string;
}

async function spansOf(snapshot: Snapshot, before: LookedAt, archived: Archived): Promise<Span[]> {
  const { positions } = await readArchiveState(snapshot);
  return [...positions].map(([partition, { stream }]) => {
    const to = later(stream, archived.get(partition) ?? stream);
    const after = before.get(partition) ?? `${Math.max(0, msOf(to) - FIRST_LOOK_MS)}-0`;
    return { partition, after, to };
  });
}

function placesOf(spans: readonly Span[]): unknown[] {
  const at = (entry: string): Date => new Date(msOf(entry));
  return [
    spans.map(({ partition }) => partition),
    spans.map(({ after }) => at(after)),
    spans.map(({ after }) => seqOf(after)),
    spans.map(({ to }) => at(to)),
    spans.map(({ to }) => seqOf(to)),
  ];
}
