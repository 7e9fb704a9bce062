import { randomUUID } from 'node:crypto';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setImmediate } from 'node:timers/promises';
import type { ArchiveBatch, JudgedEvent } from '../../consumer/engine/archive.js';
import { FIRST_POSITION } from '../../consumer/engine/head.js';
import { type ArchiveMetrics, PostgresArchive } from '../../consumer/sinks/postgres-archive.js';
import { createLogger } from '../../shared/logging.js';
import type { UsageData } from '../../shared/messages/usage.js';
import { connectPostgres } from '../../shared/postgres/connect.js';
import { sinkUrl } from '../../shared/postgres/database-url.js';
import { migrate } from '../../shared/postgres/migrate.js';

const TENANTS = 5;
const CUSTOMERS = 50;
const MESSAGES_PER_ENTRY = 50;
/** ARCHIVE_BATCH_EVENTS_MAX. */
const EVENTS_PER_BATCH = 5000;
/** So that what waits for its turn waits for the archive, not for this. */
const EVENTS_PER_TURN = 250;
const WINDOW_MS = 30_000;
const NANOSECONDS_PER_MS = 1e6;

export interface ArchiveRateOptions {
  readonly events: number;
  /** Partitions that one process archives at once, each its share of the events. */
  readonly partitions: number;
}

export interface ArchiveRate {
  readonly rowsPerSecond: number;
  /** Of this process: making events, rows, bytes; sending them. Postgres not included. */
  readonly cpuMicrosPerRow: number;
  /** How long anything else in this process had to wait for its turn. The longest is the garbage collector. */
  readonly eventLoopDelayMs: { readonly p99: number; readonly max: number };
}

/**
 * Rows per second into usage_events: batches as the engine hands them over, into a new partition table with its three
 * indexes, each batch one transaction with its position. Making the events, in place of reading them from Redis, is
 * within the time.
 * @param url of the owner of an empty database
 */
export async function measureArchiveRate(
  { url }: { readonly url: string },
  { events, partitions }: ArchiveRateOptions,
): Promise<ArchiveRate> {
  const log = createLogger('bench', 'error');
  await migrate(url, log, { waitMs: 10_000 });
  const pool = connectPostgres({ url: sinkUrl(url), name: 'bench-sink', log, poolMax: partitions });
  try {
    const settings = { windowMs: WINDOW_MS, dimensionsMax: 100 };
    const archive = new PostgresArchive({ pool, settings, log, metrics: NO_METRICS });
    await writeAll(archive, batchesOf(partitions, EVENTS_PER_BATCH * 4));
    const delay = monitorEventLoopDelay({ resolution: 1 });
    delay.enable();
    const cpu = process.cpuUsage();
    const begun = performance.now();
    await Promise.all(
      Array.from({ length: partitions }, (_, index) =>
        writeAll(archive, batchesOf(index, Math.floor(events / partitions))),
      ),
    );
    const ms = performance.now() - begun;
    const { user, system } = process.cpuUsage(cpu);
    delay.disable();
    return {
      rowsPerSecond: (events / ms) * 1000,
      cpuMicrosPerRow: (user + system) / events,
      eventLoopDelayMs: {
        p99: delay.percentile(99) / NANOSECONDS_PER_MS,
        max: delay.max / NANOSECONDS_PER_MS,
      },
    };
  } finally {
    await pool.end();
  }
}

async function writeAll(archive: PostgresArchive, batches: AsyncIterable<ArchiveBatch>): Promise<void> {
  for await (const batch of batches) {
    const refused = await archive.write(batch);
    if (refused.length > 0) throw new Error(`${refused.length} rows are refused: ${refused[0]!.error}`);
  }
}

/** Made when they are asked for: a heap full of events would be marked by the garbage collector over and over. */
async function* batchesOf(index: number, events: number): AsyncIterable<ArchiveBatch> {
  const now = Date.now();
  let from = FIRST_POSITION;
  for (let begin = 0; begin < events; begin += EVENTS_PER_BATCH) {
    const to = `${now + begin}-0`;
    const judged: JudgedEvent[] = [];
    for (let i = begin; i < Math.min(begin + EVENTS_PER_BATCH, events); i += 1) {
      judged.push(judgedEvent(to, now, i));
      if (i % EVENTS_PER_TURN === 0) await setImmediate();
    }
    const position = judged.at(-1)!.entry;
    yield { partition: { topic: 'usage', index }, events: judged, windows: [], from, to, position };
    from = to;
  }
}

function judgedEvent(outbox: string, now: number, i: number): JudgedEvent {
  const outputTokens = i % 900;
  const data: UsageData = [
    '/v1/chat/completions',
    100 + outputTokens,
    100,
    outputTokens,
    'gpt-4o-mini',
    120_000 + i,
    { region: 'eu-central-1' },
  ];
  const tenant = `tenant-${i % TENANTS}`;
  const subject = `customer-${i % CUSTOMERS}`;
  return {
    outbox,
    entry: `${now + Math.floor(i / MESSAGES_PER_ENTRY)}-0`,
    index: i % MESSAGES_PER_ENTRY,
    judgement: 'accepted',
    revision: 1,
    message: { type: 'usage', tenant, subject, id: randomUUID(), timestamp: now - (i % 2000), data },
  };
}

const NO_METRICS: ArchiveMetrics = {
  wrote: () => undefined,
  corrected: () => undefined,
  refused: () => undefined,
  skipped: () => undefined,
  windowsRefused: () => undefined,
  ahead: () => undefined,
  behind: () => undefined,
};
