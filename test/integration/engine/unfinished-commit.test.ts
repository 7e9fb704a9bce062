import { expect } from 'chai';
import fc from 'fast-check';
import { Redis } from 'ioredis';
import { CommandList } from '../../../consumer/engine/command-list.js';
import { type CommitResult, sendCommit } from '../../../consumer/engine/commit.js';
import { acquireLease } from '../../../consumer/engine/lease.js';
import { finishCommit, readUnfinished } from '../../../consumer/engine/unfinished-commit.js';
import { Keys, type PartitionKeys } from '../../../shared/keys.js';
import { Script } from '../../../shared/redis/script.js';
import { testNamespace, testRedis } from '../../support/hooks.js';

/** One command of a commit, on one of a few keys of its type. */
type Step =
  | { readonly kind: 'texts' | 'unlink'; readonly n: number }
  | { readonly kind: 'timer' | 'outbox' | 'ids' | 'reply'; readonly n: number };

const STEPS = fc.array(
  fc.record({
    kind: fc.constantFrom('texts', 'unlink', 'timer', 'outbox', 'ids', 'reply'),
    n: fc.integer({ min: 0, max: 3 }),
  }) as fc.Arbitrary<Step>,
  { minLength: 1, maxLength: 8 },
);

/** Any bytes, as the ids of a commit are. */
const bytesOf = (n: number): Buffer => Buffer.from([n, 0, 0xff, 0x80, 0x0a, 0x22, 0x5c, 0x7f, n]);

function commandsOf(keys: PartitionKeys, steps: readonly Step[]): CommandList {
  const commands = new CommandList();
  for (const [i, { kind, n }] of steps.entries()) {
    if (kind === 'texts')
      commands.addTexts([
        [keys.doc(`a${n}`), `ä ${i}`],
        [keys.doc(`b${n}`), `${i}`],
      ]);
    else if (kind === 'unlink') commands.addUnlink([keys.doc(`a${n}`), keys.doc(`c${n}`)]);
    else if (kind === 'timer') commands.add('ZADD', keys.index(`${n}`), i, `member ${n}`);
    else if (kind === 'outbox') commands.add('XADD', keys.outbox, `1-${i + 1}`, 'body', `${n}`);
    else if (kind === 'ids') commands.add('APPEND', keys.ids(0, n), bytesOf(i));
    else commands.add('REPLY', keys.reply(`${n}`), `{"i":${i}}`, 60_000, 'nobody', `${n}`);
  }
  return commands;
}

describe('a commit that failed half-way', () => {
  let redis: Redis;
  before(() => {
    redis = new Redis(testRedis().url);
    Script.defineAll(redis);
  });
  after(() => redis.disconnect());

  async function partition(): Promise<PartitionKeys> {
    const keys = new Keys(testNamespace()).partition({ topic: 'events', index: 0 });
    await redis.set(keys.lease, 'mine');
    await redis.hset(keys.head, 'folded', 5, 'takeovers', 2);
    await redis.set(keys.doc('a0'), 'before');
    return keys;
  }

  const commit = (keys: PartitionKeys, commands: CommandList, lease = 'mine'): Promise<CommitResult> =>
    sendCommit(redis, keys, {
      ...{ lease, seq: 0, position: '7-1', inside: { entry: '8-0', messages: 2 }, at: 7, folded: 3 },
      ...{ cautiousUntil: '', ids: '[[0,0,1]]', commands },
    });

  /** All of a partition but the lease, by the part of the key that says what it is. */
  async function contents(keys: PartitionKeys): Promise<Record<string, unknown>> {
    const found: Record<string, unknown> = {};
    for (const key of (await redis.keys(`${keys.base}:*`)).sort()) {
      if (key === keys.lease) continue;
      const type = await redis.type(key);
      const value =
        type === 'string'
          ? (await redis.getBuffer(key))!.toString('hex')
          : type === 'hash'
            ? await redis.hgetall(key)
            : type === 'zset'
              ? await redis.zrange(key, '0', '-1', 'WITHSCORES')
              : await redis.xrange(key, '-', '+');
      found[key.slice(keys.base.length)] = value;
    }
    return found;
  }

  it('is finished as if nothing had been, whatever it consisted of and wherever it failed', async () => {
    await fc.assert(
      fc.asyncProperty(STEPS, fc.nat(), async (steps, pick) => {
        const [broken, undisturbed] = [await partition(), await partition()];
        // What can be of the wrong type; documents and replies are written whatever is there.
        const breakable = (keys: PartitionKeys): string[] => [
          ...new Set(
            steps.flatMap(({ kind, n }) => {
              if (kind === 'timer') return [keys.index(`${n}`)];
              if (kind === 'ids') return [keys.ids(0, n)];
              return kind === 'outbox' ? [keys.outbox] : [];
            }),
          ),
        ];
        fc.pre(breakable(broken).length > 0);
        const wrong = breakable(broken)[pick % breakable(broken).length]!;
        await redis.lpush(wrong, 'a list');
        const failed = await commit(broken, commandsOf(broken, steps));
        expect(failed.kind).to.equal('HALFWAY');
        expect(await redis.hmget(broken.head, 'seq', 'dirty', 'position')).to.deep.equal([null, '1', null]);
        // As long as the cause is there it fails again, and changes nothing more.
        const stuck = await contentsWithout(wrong, broken);
        expect((await finishCommit(redis, broken, 'mine'))?.kind).to.equal('HALFWAY');
        expect(await contentsWithout(wrong, broken)).to.deep.equal(stuck);
        await redis.del(wrong);
        expect(await finishCommit(redis, broken, 'mine')).to.deep.equal({ kind: 'OK', unpublished: 0 });
        expect(await readUnfinished(redis, broken)).to.equal(undefined);
        expect(await commit(undisturbed, commandsOf(undisturbed, steps))).to.deep.equal({
          ...{ kind: 'OK', unpublished: 0 },
        });
        const [{ ':head': head, ...rest }, { ':head': expected, ...others }] = [
          (await contents(broken)) as { ':head': object },
          (await contents(undisturbed)) as { ':head': object },
        ];
        expect(rest).to.deep.equal(others);
        expect(head).to.deep.equal({ ...expected, rest: '', error: '' });
      }),
      { numRuns: 60 },
    );
  });

  async function contentsWithout(wrong: string, keys: PartitionKeys): Promise<object> {
    const { ':head': head, ...rest } = await withoutKey(wrong, keys);
    // What is left is counted from where it failed the last time.
    const { rest: _rest, ...fields } = head as Record<string, string>;
    return { fields, rest };
  }

  async function withoutKey(wrong: string, keys: PartitionKeys): Promise<Record<string, unknown>> {
    const list = await redis.lrange(wrong, 0, -1);
    await redis.del(wrong);
    const found = await contents(keys);
    await redis.lpush(wrong, ...list);
    return found;
  }

  it('is finished also where it is larger than what Lua unpacks or one command takes', async () => {
    const keys = await partition();
    const names = Array.from({ length: 20_000 }, (_, n) => keys.doc(`user:${n}`));
    const commands = new CommandList();
    commands.addTexts(names.map((name): [string, string] => [name, 'text']));
    commands.add('ZADD', keys.timers, 1, 'timer');
    commands.addSplit(
      'ZADD',
      keys.index('all'),
      names.flatMap((name, n) => [n, name]),
      2,
    );
    commands.addUnlink(names.slice(0, 10_000));
    await redis.set(keys.timers, 'not a sorted set');
    expect((await commit(keys, commands)).kind).to.equal('HALFWAY');
    expect([await redis.exists(names[0]!), await redis.zcard(keys.index('all'))]).to.deep.equal([1, 0]);
    await redis.del(keys.timers);
    expect(await finishCommit(redis, keys, 'mine')).to.deep.equal({ kind: 'OK', unpublished: 0 });
    const there = await redis.exists(...names);
    expect([there, await redis.zcard(keys.index('all'))]).to.deep.equal([10_000, 20_000]);
  });

  it('is finished also where a chunk of ids that was to be rewritten is gone by then', async () => {
    const keys = await partition();
    await redis.set(keys.outbox, 'not a stream');
    const commands = new CommandList();
    commands.add('APPEND', keys.ids(0, 0), bytesOf(1));
    commands.add('XADD', keys.outbox, '*', 'body', 'x');
    commands.add('COMPACT', keys.ids(0, 0));
    expect((await commit(keys, commands)).kind).to.equal('HALFWAY');
    await redis.del(keys.outbox, keys.ids(0, 0));
    expect(await finishCommit(redis, keys, 'mine')).to.deep.equal({ kind: 'OK', unpublished: 0 });
  });

  it('does not come to who takes the lease, however large it is, and is written down once', async () => {
    const keys = await partition();
    await redis.set(keys.outbox, 'not a stream');
    const commands = new CommandList();
    commands.add('XADD', keys.outbox, '*', 'body', '"'.repeat(1024 * 1024));
    expect((await commit(keys, commands)).kind).to.equal('HALFWAY');
    const rest = await redis.hget(keys.head, 'rest');
    expect((await finishCommit(redis, keys, 'mine'))?.kind).to.equal('HALFWAY');
    expect((await redis.hget(keys.head, 'rest')) === rest).to.equal(true);
    await redis.del(keys.lease);
    const sent = async (): Promise<number> =>
      Number(/^total_net_output_bytes:(\d+)/m.exec(await redis.info('stats'))?.[1]);
    const before = await sent();
    const taken = await acquireLease(redis, keys, 'other', 10_000);
    expect(taken.kind === 'acquired' && taken.lease.head).to.deep.include({
      seq: 0,
      dirty: true,
      takeovers: 3,
    });
    expect((await sent()) - before).to.be.lessThan(100_000);
  });

  it('is finished by the holder of the lease only, once, and nothing else is committed before', async () => {
    const keys = await partition();
    await redis.set(keys.timers, 'not a sorted set');
    const commands = new CommandList();
    commands.addTexts([[keys.doc('a0'), 'after']]);
    commands.add('ZADD', keys.timers, 1, 'timer');
    commands.add('XADD', keys.outbox, '*', 'body', 'x');
    expect((await commit(keys, commands)).kind).to.equal('HALFWAY');
    expect(await readUnfinished(redis, keys)).to.deep.include({ commandsLeft: ['ZADD', 'XADD'] });
    expect((await readUnfinished(redis, keys))?.error).to.match(/^WRONGTYPE /);
    await redis.del(keys.timers);
    expect(await commit(keys, commands)).to.deep.equal({ kind: 'DIRTY' });
    expect(await finishCommit(redis, keys, 'of another')).to.deep.equal({ kind: 'FENCED' });
    expect(await redis.exists(keys.outbox)).to.equal(0);
    expect(await finishCommit(redis, keys, 'mine')).to.deep.equal({ kind: 'OK', unpublished: 0 });
    expect(await redis.xlen(keys.outbox)).to.equal(1);
    expect(await finishCommit(redis, keys, 'mine')).to.equal(undefined);
    expect(await commit(keys, commands)).to.deep.equal({ kind: 'ALREADY' });
  });
});
