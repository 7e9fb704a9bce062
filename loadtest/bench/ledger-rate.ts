import type { OutboxEntry } from '../../consumer/engine/outbox-drain.js';
import { BudgetHistory } from '../../consumer/sinks/budget-history.js';
import { createLogger } from '../../shared/logging.js';
import { LEDGER, type LedgerEntry } from '../../shared/messages/budget-emissions.js';
import { connectPostgres } from '../../shared/postgres/connect.js';
import { sinkUrl } from '../../shared/postgres/database-url.js';
import { migrate } from '../../shared/postgres/migrate.js';

/** As the engine joins them, and as it hands them over. */
const LINES_PER_OUTBOX_ENTRY = 100;
const OUTBOX_ENTRIES_PER_WRITE = 100;
const WARM_UP_LINES = 20_000;
const WINDOW_MS = 30_000;
const TENANTS = 5;

export interface LedgerRate {
  readonly rowsPerSecond: number;
  /** Of this process; Postgres not included. */
  readonly cpuMicrosPerRow: number;
}

/**
 * Rows per second into budget_ledger by the sink of budgets, one partition at a time. Making the entries, in place of
 * reading them from Redis, is within the time.
 * @param url of the owner of an empty database
 */
export async function measureLedgerRate(url: string, lines: number): Promise<LedgerRate> {
  const log = createLogger('bench', 'error');
  await migrate(url, log, { waitMs: 10_000 });
  const pool = connectPostgres({ url: sinkUrl(url), name: 'bench-sink', log, poolMax: 1 });
  try {
    const sink = new BudgetHistory(pool, log);
    await write(sink, 0, WARM_UP_LINES);
    const cpu = process.cpuUsage();
    const begun = performance.now();
    await write(sink, WARM_UP_LINES, lines);
    const ms = performance.now() - begun;
    const { user, system } = process.cpuUsage(cpu);
    const { rows } = await pool.query<{ count: string }>('SELECT count(*) FROM budget_ledger');
    const written = Number(rows[0]!.count);
    if (written !== WARM_UP_LINES + lines) throw new Error(`${written} lines are in Postgres`);
    return { rowsPerSecond: (lines / ms) * 1000, cpuMicrosPerRow: (user + system) / lines };
  } finally {
    await pool.end();
  }
}

async function write(sink: BudgetHistory, from: number, count: number): Promise<void> {
  const now = Date.now();
  const perWrite = LINES_PER_OUTBOX_ENTRY * OUTBOX_ENTRIES_PER_WRITE;
  for (let begin = from; begin < from + count; begin += perWrite) {
    const entries: OutboxEntry[] = [];
    for (let i = begin; i < Math.min(begin + perWrite, from + count); i += LINES_PER_OUTBOX_ENTRY) {
      const body = Array.from({ length: LINES_PER_OUTBOX_ENTRY }, (_, line) => lineOf(now, i + line));
      entries.push({ id: `${now}-${i}`, type: LEDGER, body });
    }
    await sink.write('admissions.0', entries);
  }
}

function lineOf(now: number, index: number): LedgerEntry {
  const grants = index % 2 === 0;
  return {
    ...{ tenant: `tenant-${index % TENANTS}`, epoch: now, seq: Math.floor(index / TENANTS) + 1 },
    ...{ at: now, kind: grants ? 'grant' : 'settle', window: now - (now % WINDOW_MS) },
    ...{ path: ['global', 'ranking'], held: grants ? 100 : -100, settled: grants ? 0 : 80 },
    ...{ admission: `${String(index).padStart(16, '0')}aBCDEFGH`, pipeline: 'ranking', priority: 'P1' },
    tokens: grants ? 100 : 80,
  };
}
