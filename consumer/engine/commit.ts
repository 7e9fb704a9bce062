import type { Redis } from 'ioredis';
import type { PartitionKeys } from '../../shared/keys.js';
import { type RedisArgument, Script } from '../../shared/redis/script.js';
import { type Inside, writeInside } from './head.js';

/** The commit script. Tests cut its guards out to show what they are for. */
export const commitScript = new Script(import.meta.url, 'commit.lua');

/** Lua's `unpack` fails near 8,000 values; longer commands are split well below. */
const COMMAND_WORDS_MAX = 1000;

/** The Redis commands of one commit, in order, as one flat list. */
export class CommandList {
  readonly words: RedisArgument[] = [];

  add(...command: RedisArgument[]): void {
    this.words.push(command.length, ...command);
  }

  /** A command whose arguments repeat in groups of `groupSize` (MSET, ZADD, UNLINK), split to stay in bounds. */
  addSplit(
    name: string,
    leading: readonly RedisArgument[],
    rest: readonly RedisArgument[],
    groupSize: number,
  ): void {
    const room = COMMAND_WORDS_MAX - 1 - leading.length;
    const slice = room - (room % groupSize);
    for (let start = 0; start < rest.length; start += slice) {
      const part = rest.slice(start, start + slice);
      this.words.push(1 + leading.length + part.length, name, ...leading, ...part);
    }
  }
}

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
  /** Documents (keys) that the fold took for absent. */
  readonly absent: readonly string[];
  readonly commands: CommandList;
}

export type CommitResult = 'OK' | 'ALREADY' | 'PRESENT' | 'FENCED' | 'STALE' | 'DIRTY';

/**
 * Sends a commit. When it throws nobody knows whether it was applied: send the same commit again, the answer is
 * then OK or ALREADY. PRESENT: nothing was applied, and nothing will be.
 */
export async function sendCommit(redis: Redis, keys: PartitionKeys, commit: Commit): Promise<CommitResult> {
  const { lease, seq, position, inside, at, folded, cautiousUntil, ids, absent } = commit;
  const guards: RedisArgument[] = [
    ...[lease, seq, position, writeInside(inside), at, folded, cautiousUntil, ids],
    ...[absent.length, ...absent],
  ];
  return (await commitScript.run(
    redis,
    [keys.head, keys.lease],
    guards.concat(commit.commands.words),
  )) as CommitResult;
}
