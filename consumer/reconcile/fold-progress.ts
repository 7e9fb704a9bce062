import type { Redis } from 'ioredis';
import type { Keys } from '../../shared/keys.js';
import { compareEntryIds, FIRST_POSITION } from '../engine/head.js';
import type { ArchiveState } from './archive-snapshot.js';

/** How far a partition was folded at one moment. */
export interface FoldProgress {
  /** The partition's time, ms: every timer due before it has fired. */
  readonly at: number;
  /** The outbox entry by which everything is said that was folded up to then. */
  readonly outbox: string;
}

/**
 * The end of the outbox is asked for after the time: it may say more, never less. (A commit writes both at once. In
 * the outbox the verdicts of a step come before its windows, so the archive's position in the stream alone does not
 * tell that it has the windows that were closed on the way there.)
 */
export async function readFoldProgress(redis: Redis, keys: Keys, partition: number): Promise<FoldProgress> {
  const { head, outbox } = keys.partition({ topic: 'usage', index: partition });
  const at = Number((await redis.hget(head, 'at')) ?? 0);
  return { at, outbox: await lastOutboxId(redis, outbox) };
}

/** Of the last entry that ever was in an outbox. */
export async function lastOutboxId(redis: Redis, outbox: string): Promise<string> {
  const info = (await redis.xinfo('STREAM', outbox).catch(noSuchKey)) as unknown[] | undefined;
  return info === undefined ? FIRST_POSITION : String(info[info.indexOf('last-generated-id') + 1]);
}

/** Whether Postgres has every window that was closed or revised up to `progress.at`. */
export function hasAllOf(archive: ArchiveState, partition: number, progress: FoldProgress): boolean {
  return compareEntryIds(archive.positions.get(partition)?.outbox ?? FIRST_POSITION, progress.outbox) >= 0;
}

function noSuchKey(error: unknown): undefined {
  if (error instanceof Error && error.message.includes('no such key')) return;
  throw error;
}
