import type { Redis } from 'ioredis';
import type { PartitionKeys } from '../keys.js';
import type { Message } from '../messages/message.js';
import { recordBatchVersion } from '../messages/record-batch.js';
import { Script } from '../redis/script.js';

/**
 * A message whose fold failed, or an entry that could not be decoded. It lies in the partition's stream `dead`:
 *
 *   m         the message (JSON); of an entry, its raw text
 *   error     why
 *   attempts  how often it has failed
 *   at        when it failed, ms since the epoch
 *   kind      `message` | `entry` | `timer` | `row` (Postgres refused it); only a message can be replayed
 */
export interface DeadLetter {
  /** Id in the stream. */
  readonly id: string;
  readonly kind: 'message' | 'entry';
  /** The message; of kind `entry`, its raw text. */
  readonly message: unknown;
  /** The field `m` as it lies there. */
  readonly raw: string;
  readonly error: string;
  readonly attempts: number;
  readonly atMs: number;
}

export type ReplayResult = 'replayed' | 'not_found' | 'not_replayable';

const replayScript = new Script(import.meta.url, 'replay.lua');

/** The letters of one partition after `afterId`, oldest first. */
export async function listDeadLetters(
  redis: Redis,
  keys: PartitionKeys,
  afterId: string,
  limit: number,
): Promise<DeadLetter[]> {
  const found = await redis.xrange(keys.dead, `(${afterId}`, '+', 'COUNT', limit);
  return found.map(([id, fields]) => decode(id, fields));
}

/** Appends the letter's message again, with the same id, and removes the letter, in one step. */
export async function replayDeadLetter(redis: Redis, keys: PartitionKeys, id: string): Promise<ReplayResult> {
  const found = await redis.xrange(keys.dead, id, id);
  if (found.length === 0) return 'not_found';
  const letter = decode(found[0]![0], found[0]![1]);
  if (letter.kind === 'entry' || typeof letter.message !== 'object' || letter.message === null) {
    return 'not_replayable';
  }
  // Nobody waits for the reply any more.
  const { reply: _reply, ...message } = letter.message as Message;
  const again = JSON.stringify({ ...message, attempts: letter.attempts });
  const done = await replayScript.run(
    redis,
    [keys.dead, keys.stream, keys.appended, keys.head, keys.bytes],
    [id, recordBatchVersion([again]), again, letter.raw, keys.archived ? 1 : 0],
  );
  return done === 1 ? 'replayed' : 'not_found';
}

/** @returns false when there is no such letter */
export async function deleteDeadLetter(redis: Redis, keys: PartitionKeys, id: string): Promise<boolean> {
  return (await redis.xdel(keys.dead, id)) === 1;
}

function decode(id: string, fields: readonly string[]): DeadLetter {
  const field = (name: string): string | undefined => {
    for (let i = 0; i < fields.length; i += 2) if (fields[i] === name) return fields[i + 1];
    return undefined;
  };
  const raw = field('m') ?? '';
  const kind = field('kind') === 'message' ? 'message' : 'entry';
  return {
    id,
    kind,
    message: kind === 'message' ? parsed(raw) : raw,
    raw,
    error: field('error') ?? '',
    attempts: Number(field('attempts') ?? 1),
    atMs: Number(field('at') ?? Number.parseInt(id, 10)),
  };
}

/** The message; its text where it is not JSON. */
function parsed(raw: string): unknown {
  try {
    return JSON.parse(raw);
  } catch {
    return raw;
  }
}
