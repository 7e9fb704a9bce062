import type { Redis } from 'ioredis';
import type { PartitionKeys } from '../../shared/keys.js';
import { type RedisArgument, Script } from '../../shared/redis/script.js';
import type { CommandList } from './command-list.js';
import { FencedError } from './fenced-error.js';
import { type Inside, writeInside } from './head.js';

/** The commit script. Tests cut its guards out to show what they are for. */
export const commitScript = new Script(import.meta.url, 'commit.lua');

export interface Commit {
  readonly lease: string;
  readonly seq: number;
  readonly position: string;
  readonly inside: Inside | undefined;
  readonly at: number;
  /** Messages this step has dealt with, whatever became of them: what the backlog shrinks by. */
  readonly folded: number;
  readonly cautiousUntil: string;
  /** Empty: unchanged. */
  readonly ids: string;
  readonly commands: CommandList;
}

export type CommitResult =
  | { readonly kind: 'ALREADY' | 'PRESENT' | 'FENCED' | 'STALE' | 'DIRTY' }
  /** @property unpublished replies that are stored, but that Redis refused to publish */
  | { readonly kind: 'OK'; readonly unpublished: number }
  | { readonly kind: 'HALFWAY'; readonly error: string };

/**
 * Sends a commit. When it throws nobody knows whether it was applied: send the same commit again, the answer is
 * then OK or ALREADY. PRESENT: nothing was applied, and nothing will be. HALFWAY: see unfinished-commit.ts.
 */
export async function sendCommit(redis: Redis, keys: PartitionKeys, commit: Commit): Promise<CommitResult> {
  const { lease, seq, position, inside, at, folded, cautiousUntil, ids, commands } = commit;
  const guards: RedisArgument[] = [
    ...[lease, seq, position, writeInside(inside), at, folded, cautiousUntil, ids],
    ...[commands.absentKeys, 0],
  ];
  const all = [keys.head, keys.lease, ...commands.keys];
  return readResult(await commitScript.run(redis, all, guards.concat(commands.words)));
}

/**
 * How many replies were not published, of a commit that was applied.
 * @throws FencedError where the partition is somebody else's
 */
export function assertApplied(result: CommitResult, partition: string): number {
  switch (result.kind) {
    case 'OK':
      return result.unpublished;
    case 'ALREADY':
      return 0;
    case 'HALFWAY':
      throw new Error(`a commit failed half-way, the next owner finishes it: ${result.error}`);
    case 'DIRTY':
      throw new Error(`a commit failed half-way (npm run repair -- ${partition})`);
    default:
      throw new FencedError(`commit ${result.kind}`);
  }
}

export function readResult(reply: unknown): CommitResult {
  const text = reply as string;
  const [kind = ''] = text.split(' ', 1);
  const rest = text.slice(kind.length + 1);
  if (kind === 'OK') return { kind, unpublished: Number(rest) };
  if (kind === 'HALFWAY') return { kind, error: rest };
  return { kind: kind as 'ALREADY' | 'PRESENT' | 'FENCED' | 'STALE' | 'DIRTY' };
}
