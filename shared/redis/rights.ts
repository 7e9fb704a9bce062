import type { Redis } from 'ioredis';
import { nanoid } from 'nanoid';
import type { Keys } from '../keys.js';
import { SetupError } from '../setup-error.js';

/** The Redis user may not do what this process cannot do without. */
export class RightsError extends SetupError {}

type Example = readonly string[];

interface Optional {
  readonly example: Example;
  /** What is lost without it. */
  readonly cost: string;
}

/** One harmless call of every command of weir, scripts' commands too. A test keeps it complete. */
function required({ string, hash, set, stream }: ProbeKeys): Example[] {
  return [
    ...[['PING'], ['TIME'], ['EVAL', 'return 1', '0'], ['EVALSHA', '0'.repeat(40), '0']],
    ...[
      ['SET', string, '0', 'PX', '60000'],
      ['SETNX', string, '0'],
      ['MSET', string, '0'],
      ['INCR', string],
    ],
    ...[
      ['INCRBY', string, '1'],
      ['APPEND', string, '0'],
      ['GET', string],
      ['MGET', string],
      ['EXISTS', string],
    ],
    ...[
      ['PTTL', string],
      ['PEXPIRE', string, '60000'],
    ],
    ...[
      ['HSET', hash, 'f', '0'],
      ['HSETNX', hash, 'f', '0'],
      ['HINCRBY', hash, 'f', '1'],
      ['HGET', hash, 'f'],
    ],
    ...[
      ['HMGET', hash, 'f'],
      ['HGETALL', hash],
      ['HEXISTS', hash, 'f'],
    ],
    ...[
      ['ZADD', set, '1', 'm'],
      ['ZRANGE', set, '0', '0'],
      ['ZRANGEBYSCORE', set, '0', '1'],
      ['ZCARD', set],
    ],
    ...[
      ['ZSCORE', set, 'm'],
      ['ZMSCORE', set, 'm'],
      ['ZCOUNT', set, '0', '1'],
      ['ZREM', set, 'm'],
    ],
    ...[['ZREMRANGEBYSCORE', set, '0', '1']],
    ...[
      ['XADD', stream, '*', 'f', '0'],
      ['XGROUP', 'CREATE', stream, 'g', '0'],
      ['XGROUP', 'SETID', stream, 'g', '0'],
    ],
    ['XREADGROUP', 'GROUP', 'g', 'c', 'COUNT', '1', 'NOACK', 'STREAMS', stream, '>'],
    ...[
      ['XREAD', 'COUNT', '1', 'STREAMS', stream, '0'],
      ['XRANGE', stream, '-', '+', 'COUNT', '1'],
    ],
    ...[
      ['XREVRANGE', stream, '+', '-', 'COUNT', '1'],
      ['XLEN', stream],
      ['XDEL', stream, '0-1'],
    ],
    ...[
      ['XTRIM', stream, 'MINID', '0'],
      // Both: where one is refused and the rest was tried, the other leaves nothing behind.
      ['UNLINK', string, hash, set, stream],
      ['DEL', string, hash, set, stream],
    ],
  ];
}

function optional(keys: Keys, { stream }: ProbeKeys): Optional[] {
  const channel = keys.replyChannel('probe');
  const cost =
    'replies are read by polling, up to 200 ms later, and workers share out partitions by the heartbeat';
  return [
    { example: ['PUBLISH', channel, ''], cost },
    { example: ['SUBSCRIBE', channel], cost },
    { example: ['INFO', 'memory'], cost: 'how full Redis is, and whether it may evict, is not known' },
    { example: ['MEMORY', 'USAGE', stream], cost: 'OUTBOX_BYTES_MAX bounds nothing' },
    { example: ['SCAN', '0', 'COUNT', '1'], cost: 'nothing is reconciled' },
    { example: ['XINFO', 'STREAM', stream], cost: 'nothing is reconciled' },
    { example: ['MULTI'], cost: 'nothing is reconciled' },
    { example: ['CONFIG', 'GET', 'save'], cost: 'whether Redis keeps anything on disk is not known' },
  ];
}

interface ProbeKeys {
  readonly string: string;
  readonly hash: string;
  readonly set: string;
  readonly stream: string;
}

/** The commands that the probe covers, in capitals. */
export function probedCommands(keys: Keys): ReadonlySet<string> {
  const probe = keys.probe('x');
  const examples = [...required(probe), ...optional(keys, probe).map(({ example }) => example)];
  return new Set(examples.map(([name]) => name!));
}

/**
 * Says in one line what the user of the connection may not do: a warning for what weir can do without.
 * @throws RightsError for the rest; what the driver throws when Redis is away
 */
export async function assertRights(redis: Redis, keys: Keys, warn: (line: string) => void): Promise<void> {
  const probe = keys.probe(nanoid(8));
  const must = required(probe);
  const may = optional(keys, probe);
  const refusals = await ask(redis, [...must, ...may.map(({ example }) => example)]);
  const lacking = [...new Set(must.flatMap((example, i) => lack(example, refusals[i], keys)))];
  if (lacking.length > 0) {
    throw new RightsError(
      `REDIS_URL: its user has no right to ${lacking.join(', ')}. weir needs ~${keys.namespace}:* &${keys.namespace}:* +@all, ` +
        'or what docs/operations.md lists.',
    );
  }
  const costs = new Map<string, string[]>();
  for (const [i, { example, cost }] of may.entries()) {
    for (const what of lack(example, refusals[must.length + i], keys)) {
      costs.set(cost, [...new Set([...(costs.get(cost) ?? []), what])]);
    }
  }
  for (const [cost, what] of costs) warn(`the user of REDIS_URL has no right to ${what.join(', ')}: ${cost}`);
}

/** What a refusal is about: the command, or the keys or channels of ours. */
function lack([name = '']: Example, refusal: string | undefined, keys: Keys): string[] {
  if (refusal === undefined) return [];
  if (/\bchannels?\b/.test(refusal)) return [`the channels ${keys.namespace}:*`];
  if (/\bkeys?\b/.test(refusal)) return [`the keys ${keys.namespace}:*`];
  return [name];
}

/** For each example Redis' words where it is refused. Nothing is done where Redis says so without; else each is tried. */
async function ask(redis: Redis, examples: readonly Example[]): Promise<(string | undefined)[]> {
  const user = await redis.call('ACL', 'WHOAMI').catch(refused);
  const mayAsk =
    typeof user === 'string' && (await redis.call('ACL', 'DRYRUN', user, 'PING').catch(refused)) === 'OK';
  return Promise.all(
    examples.map(async (example) => {
      const [name = '', ...args] = example;
      if (mayAsk) {
        const answer = await redis.call('ACL', 'DRYRUN', user, ...example).catch(refused);
        return typeof answer === 'string' && answer !== 'OK' ? answer : undefined;
      }
      if (UNTRIED.has(name)) return undefined;
      const answer = await redis.call(name, ...args).catch(refused);
      return answer instanceof Error && answer.message.startsWith('NOPERM') ? answer.message : undefined;
    }),
  );
}

/** They change what the connection can do. That a subscription fails costs nothing but time. */
const UNTRIED: ReadonlySet<string> = new Set(['SUBSCRIBE', 'MULTI']);

/** An answer of Redis that is an error; whatever else is wrong is thrown. */
function refused(error: Error): Error {
  if (error.name === 'ReplyError') return error;
  throw error;
}
