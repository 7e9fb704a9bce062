import { ARCHIVE } from '../../../shared/keys.js';
import { partitionName } from '../../../shared/topics.js';
import type { ArchiveBatch } from '../../engine/archive.js';
import { compareEntryIds, FIRST_POSITION } from '../../engine/head.js';
import { insertBisecting, type Refusal } from './bisect.js';
import { ColdWindows, type CorrectionSettings } from './cold-windows.js';
import { lockPosition, movePosition } from './sink-position.js';
import type { Transaction } from './transaction.js';
import type { UsageRow } from './usage-row.js';
import { insertUsage, rowsNotStored } from './usage-rows.js';
import { upsertNewerWindows, type WindowRow, writeWindows } from './window-rows.js';

/** A batch as rows, whose customers have ids. */
export interface PreparedBatch {
  readonly batch: ArchiveBatch;
  readonly rows: readonly UsageRow[];
  /** Each customer's window once: the last. */
  readonly windows: readonly WindowRow[];
}

export interface Written {
  readonly rows: number;
  readonly corrected: number;
  readonly refused: readonly Refusal<UsageRow>[];
  readonly refusedWindows: readonly Refusal<WindowRow>[];
  /**
   * Redis and Postgres are not from the same time. `ahead`: Postgres has what Redis has lost. `behind`: Postgres has
   * lost (or never had) what Redis believes to be here.
   */
  readonly disagreement: 'ahead' | 'behind' | undefined;
}

/** Postgres refuses corrections: the transaction has to be made anew without their events. */
export class CorrectionRefused extends Error {
  constructor(readonly refusals: readonly Refusal<UsageRow>[]) {
    super('Postgres refuses the correction of a window');
    this.name = 'CorrectionRefused';
  }
}

/** Postgres is not where it was: customers and partitions that are remembered may not exist. */
export class OtherPostgres extends Error {
  constructor() {
    super('Postgres has less than it has had');
    this.name = 'OtherPostgres';
  }
}

export interface StoreOptions {
  readonly settings: CorrectionSettings;
  /** Cold events whose correction Postgres has refused, and why. */
  readonly barred: ReadonlyMap<UsageRow, string>;
  /** Nothing of what the batch relies on was remembered from before. */
  readonly isFresh: boolean;
}

/**
 * Stores a batch, inside a transaction.
 *
 * A row is stored once because its place in the stream is its key, a window because `as_of` says whether it is news.
 * The position only saves looking: what lies behind it came to be stored in a transaction that was committed, by an
 * owner that died before it could acknowledge, or by a zombie. So there, and only there, the rows that exist are
 * looked up first. Some may not exist: they were refused (and will be again, so that they get to the dead letters
 * although the first owner died), or Redis gives out old ids again.
 *
 * A cold event is counted in its window if and only if its row is inserted by this transaction.
 *
 * @throws CorrectionRefused, OtherPostgres; anything the driver throws
 */
export async function storeBatch(
  tx: Transaction,
  { batch, rows, windows }: PreparedBatch,
  { settings, barred, isFresh }: StoreOptions,
): Promise<Written> {
  const { index: partition } = batch.partition;
  const stream = partitionName(batch.partition);
  const position = await lockPosition(tx, ARCHIVE, stream);
  const isBehind = compareEntryIds(position ?? FIRST_POSITION, batch.from) < 0;
  if (isBehind && !isFresh) throw new OtherPostgres();

  const notStored = (some: readonly UsageRow[]) => rowsNotStored(tx, partition, some);
  const { again, news } = split(rows, position);
  const missing = again.length === 0 ? again : await notStored(again);
  const wanted = again.length === 0 ? news : [...missing, ...news];

  const refusedWindows = await insertBisecting(tx, windows, (some) =>
    upsertNewerWindows(tx, partition, some),
  );
  const cold = await ColdWindows.of(
    tx,
    wanted.filter((row) => row.event.judgement === 'cold' && !barred.has(row)),
    settings,
  );
  const refused: Refusal<UsageRow>[] = [...cold.refused];
  for (const row of wanted) {
    const error = barred.get(row);
    if (error !== undefined) refused.push({ item: row, error });
  }
  /** Rows that this transaction does not insert. */
  const left = new Set(refused.map(({ item }) => item));
  const refusedByPostgres = await insertBisecting(
    tx,
    left.size === 0 ? wanted : wanted.filter((row) => !left.has(row)),
    (some) => insertUsage(tx, partition, some),
    async (some) => {
      const fresh = new Set(await notStored(some));
      for (const row of some) if (!fresh.has(row)) left.add(row);
      return [...fresh];
    },
  );
  for (const { item } of refusedByPostgres) left.add(item);
  refused.push(...refusedByPostgres);

  cold.leaveOut(left);
  await writeCorrections(tx, partition, cold);
  const isAhead = lacks(batch, position) || missing.some((row) => !left.has(row));
  // Not backwards, for a zombie; but where ids begin anew the position does too.
  if (isAhead || position === undefined || compareEntryIds(batch.to, position) > 0) {
    await movePosition(tx, ARCHIVE, stream, batch);
  }
  return {
    rows: wanted.length - left.size,
    corrected: cold.windows.length,
    refused,
    refusedWindows,
    disagreement: isBehind ? 'behind' : isAhead ? 'ahead' : undefined,
  };
}

async function writeCorrections(tx: Transaction, partition: number, cold: ColdWindows): Promise<void> {
  const refusals = await insertBisecting(tx, cold.windows, (some) => writeWindows(tx, partition, some));
  if (refusals.length === 0) return;
  throw new CorrectionRefused(
    refusals.flatMap(({ item: { rows }, error }) => rows.map((row) => ({ item: row, error }))),
  );
}

/** The rows at or before the position, and those after it. */
function split(
  rows: readonly UsageRow[],
  position: string | undefined,
): { again: readonly UsageRow[]; news: readonly UsageRow[] } {
  if (position === undefined) return { again: [], news: rows };
  const begin = rows.findIndex(({ event }) => compareEntryIds(event.outbox, position) > 0);
  return begin === -1 ? { again: rows, news: [] } : { again: rows.slice(0, begin), news: rows.slice(begin) };
}

/**
 * The batch goes past the entry that was written last, and that entry is not in it: Redis has lost it.
 *
 * | what happened                          | what comes                      | here |
 * |----------------------------------------|---------------------------------|------|
 * | all is well                            | a batch from the position on    | stored |
 * | owner died before the acknowledgement  | a batch with the position in it | the rest is stored |
 * | zombie, or smaller batches since       | a batch that ends before        | nothing to do |
 * | FLUSHALL; Redis restored from a backup | newer ids (they are times), the position not among them | stored, reported |
 * | the same, and its clock was set back   | older ids, rows that do not exist | stored, reported |
 * | Postgres restored, or another one      | a batch from after the position | stored, reported |
 */
function lacks({ from, to, events, windows }: ArchiveBatch, position: string | undefined): boolean {
  if (position === undefined) return false;
  if (compareEntryIds(from, position) >= 0 || compareEntryIds(to, position) <= 0) return false;
  const isIt = ({ outbox }: { readonly outbox: string }) => outbox === position;
  return !events.some(isIt) && !windows.some(isIt);
}
