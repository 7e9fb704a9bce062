import type { Snapshot } from '../archive-snapshot.js';
import { textOrNull } from '../window-key.js';

/** Tokens of one level of one window. */
export interface LevelSums {
  readonly held: number;
  readonly settled: number;
}

/** Up to which entries a window is added up: two questions about the same entries. */
export interface LedgerQuestion {
  readonly tenant: string;
  readonly epoch: number;
  readonly start: number;
  /** The entries with numbers up to this one (`upTo`). */
  readonly seq: number;
  /** The first so many entries of the window (`first`). */
  readonly entries: number;
}

export interface LedgerPart {
  readonly entries: number;
  readonly levels: ReadonlyMap<string, LevelSums>;
}

export interface LedgerSums {
  readonly upTo: LedgerPart;
  readonly first: LedgerPart;
}

/**
 * The entries of a window lie together in budget_ledger_window (tenant_id, epoch, window_start) of each day; the bound on
 * `at` leaves out the days before. An entry counts at each level of its path and, under no name, once. As numeric and
 * text: what should be an exact integer may be anything here, and has to be reported, not refused.
 */
const SUMS = `
WITH entries AS (
  SELECT q.n, l.path, l.held, l.settled, l.seq <= q.seq AS is_up_to,
    q.entries > 0 AND row_number() OVER (PARTITION BY q.n ORDER BY l.seq, l.at) <= q.entries AS is_first
  FROM jsonb_to_recordset($1::jsonb) AS q(n integer, tenant text, epoch bigint, start timestamptz, seq bigint, entries bigint)
  JOIN budget_ledger l ON l.tenant_id = q.tenant AND l.epoch = q.epoch AND l.window_start = q.start
  WHERE l.at >= $2
)
SELECT n, level,
  count(*) FILTER (WHERE is_up_to) AS up_to, count(*) FILTER (WHERE is_first) AS first,
  sum(held) FILTER (WHERE is_up_to)::text AS up_to_held, sum(settled) FILTER (WHERE is_up_to)::text AS up_to_settled,
  sum(held) FILTER (WHERE is_first)::text AS first_held, sum(settled) FILTER (WHERE is_first)::text AS first_settled
FROM entries CROSS JOIN unnest(array_append(path, NULL)) AS level
GROUP BY n, level`;

interface SumRow {
  readonly n: number;
  /** Null: the entries themselves. */
  readonly level: string | null;
  readonly up_to: number;
  readonly first: number;
  readonly up_to_held: string | null;
  readonly up_to_settled: string | null;
  readonly first_held: string | null;
  readonly first_settled: string | null;
}

/** Entries that one statement adds up, about: a second's work. */
const ENTRIES_PER_STATEMENT = 500_000;

/** @param weights about how many entries each has. @returns in the order of the questions */
export async function sumLedger(
  snapshot: Snapshot,
  questions: readonly LedgerQuestion[],
  weights: readonly number[],
): Promise<LedgerSums[]> {
  const sums: LedgerSums[] = [];
  for (let begin = 0; begin < questions.length; ) {
    let end = begin + 1;
    let entries = weights[begin]!;
    for (; end < questions.length && entries + weights[end]! <= ENTRIES_PER_STATEMENT; end += 1) {
      entries += weights[end]!;
    }
    sums.push(...(await sumTogether(snapshot, questions.slice(begin, end))));
    begin = end;
  }
  return sums;
}

async function sumTogether(snapshot: Snapshot, questions: readonly LedgerQuestion[]): Promise<LedgerSums[]> {
  const rows = await snapshot.query<SumRow>(SUMS, [
    JSON.stringify(
      questions.map(({ tenant, start, ...question }, n) => ({
        ...{ ...question, n, tenant: textOrNull(tenant), start: new Date(start).toISOString() },
      })),
    ),
    // No entry is older than its window.
    new Date(Math.min(...questions.map(({ start }) => start))),
  ]);
  const all = questions.map(() => ({ upTo: new Part(), first: new Part() }));
  for (const row of rows) {
    const { upTo, first } = all[row.n]!;
    upTo.add(row.level, row.up_to, row.up_to_held, row.up_to_settled);
    first.add(row.level, row.first, row.first_held, row.first_settled);
  }
  return all;
}

class Part implements LedgerPart {
  entries = 0;
  readonly levels = new Map<string, LevelSums>();

  add(level: string | null, entries: number, held: string | null, settled: string | null): void {
    if (level === null) this.entries = entries;
    else if (entries > 0) this.levels.set(level, { held: Number(held), settled: Number(settled) });
  }
}
