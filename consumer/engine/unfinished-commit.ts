import type { Redis } from 'ioredis';
import type { PartitionKeys } from '../../shared/keys.js';
import type { RedisArgument } from '../../shared/redis/script.js';
import { type CommitResult, commitScript, readResult } from './commit.js';

/** Arguments of the commit script before its commands, and which of them change when it is finished. */
const ARGUMENTS_BEFORE = 10;
const LEASE_AT = 0;
const ABSENT_AT = 8;
const FINISHES_AT = 9;

/** What a commit that failed half-way has left to do, as it stands in the head. */
export interface UnfinishedCommit {
  /** Redis' words for why it failed. */
  readonly error: string;
  /** Names of the commands that have taken no effect, in order. */
  readonly commandsLeft: readonly string[];
  readonly keys: readonly string[];
  readonly args: readonly Buffer[];
}

/** Undefined where the head does not say. @throws when a newer worker wrote it */
export async function readUnfinished(
  redis: Redis,
  keys: PartitionKeys,
): Promise<UnfinishedCommit | undefined> {
  const [rest, error] = await redis.hmgetBuffer(keys.head, 'rest', 'error');
  if (rest === null || rest === undefined || rest.length === 0) return undefined;
  // Arguments may be any bytes: each is one character here.
  const stored = JSON.parse(rest.toString('latin1')) as {
    readonly v: number;
    readonly keys: readonly string[];
    readonly args: readonly string[];
    /** Counted from 1, as in the script. */
    readonly next: number;
  };
  if (stored.v !== 1) throw new Error(`an unfinished commit of version ${stored.v}: a newer worker knows it`);
  const bytes = (text: string): Buffer => Buffer.from(text, 'latin1');
  const args = [...stored.args.slice(0, ARGUMENTS_BEFORE), ...stored.args.slice(stored.next - 1)];
  const commandsLeft: string[] = [];
  for (let i = ARGUMENTS_BEFORE; i < args.length; i += Number(args[i]) + 1) commandsLeft.push(args[i + 1]!);
  return {
    error: error?.toString() ?? '',
    commandsLeft,
    keys: stored.keys.map((key) => bytes(key).toString()),
    args: args.map(bytes),
  };
}

/**
 * Does what a commit that failed half-way has left to do, exactly: what took effect then is not among it. May be sent
 * again like any commit, and may fail half-way like any. Undefined where the head does not say what is left.
 */
export async function finishCommit(
  redis: Redis,
  keys: PartitionKeys,
  lease: string,
): Promise<CommitResult | undefined> {
  const unfinished = await readUnfinished(redis, keys);
  if (unfinished === undefined) return undefined;
  const args: RedisArgument[] = [...unfinished.args];
  args[LEASE_AT] = lease;
  // What was absent is there by now.
  args[ABSENT_AT] = 0;
  args[FINISHES_AT] = 1;
  return readResult(await commitScript.run(redis, unfinished.keys, args));
}
