import { expect } from 'chai';
import type { Redis } from 'ioredis';
import { CommandList } from '../../../consumer/engine/command-list.js';
import { type CommitResult, sendCommit } from '../../../consumer/engine/commit.js';
import { Keys } from '../../../shared/keys.js';
import { isTransient } from '../../../shared/redis/errors.js';
import { Script } from '../../../shared/redis/script.js';
import { EngineFixture } from '../../support/engine-fixture.js';
import { testNamespace } from '../../support/hooks.js';
import { event } from '../../support/partitions.js';
import { RedisCluster } from '../../support/redis-cluster.js';
import { until } from '../../support/redis-server.js';

describe('a slot that moves to another node', () => {
  let cluster: RedisCluster;
  before(async function () {
    this.timeout(60_000);
    cluster = await RedisCluster.start();
    Script.defineAll(cluster.redis.source);
    Script.defineAll(cluster.redis.target);
  });
  after(() => cluster.stop());

  it('refuses a commit whose keys are partly gone before its first write, and takes it when all have moved', async () => {
    const { source, target } = cluster.redis;
    const keys = new Keys(testNamespace()).partition({ topic: 'events', index: 63 });
    const slot = await source.cluster('KEYSLOT', keys.head);
    const documents = Array.from({ length: 8 }, (_, n) => keys.doc(`user:default:${n}`));
    const before: [string, string][] = documents.slice(0, 6).map((key) => [key, 'before']);
    await source.mset(before.flat());
    await source.set(keys.lease, 'mine');
    await source.hset(keys.head, 'seq', 4, 'position', '4-0', 'dirty', 0);
    const texts = (redis: Redis): Promise<(string | null)[]> =>
      Promise.all(
        before.map(([key]) => redis.get(key).catch((error: Error) => error.message.split(' ')[0]!)),
      );
    const commit = (redis: Redis): Promise<CommitResult> => {
      const commands = new CommandList(documents.slice(6));
      commands.addTexts(documents.map((key): [string, string] => [key, 'after']));
      commands.add('XADD', keys.outbox, '*', 'type', 'x', 'body', '{}');
      return sendCommit(redis, keys, {
        ...{ lease: 'mine', seq: 4, position: '5-0', inside: undefined, at: 5, folded: 8 },
        ...{ cautiousUntil: '', ids: '', commands },
      });
    };
    const refusal = async (redis: Redis): Promise<string> => {
      const error = await commit(redis).then(
        () => new Error('it was taken'),
        (thrown: Error) => thrown,
      );
      expect(isTransient(error), error.message).to.equal(true);
      return error.message.split(' ')[0]!;
    };

    await cluster.beginMove(slot);
    await cluster.moveKeys(documents.slice(0, 3));
    expect(await refusal(source)).to.equal('TRYAGAIN');
    expect(await source.hgetall(keys.head)).to.deep.equal({ seq: '4', position: '4-0', dirty: '0' });
    expect(await texts(source)).to.deep.equal(['ASK', 'ASK', 'ASK', 'before', 'before', 'before']);
    await cluster.moveKeys([keys.head]);
    expect(await refusal(source)).to.equal('TRYAGAIN');
    await cluster.endMove(slot);
    expect(await refusal(source)).to.equal('MOVED');
    expect(await target.hgetall(keys.head)).to.deep.equal({ seq: '4', position: '4-0', dirty: '0' });
    expect(await texts(target)).to.deep.equal(Array(6).fill('before'));
    expect(await target.exists(keys.outbox, documents[6]!, documents[7]!)).to.equal(0);
    expect(await commit(target)).to.deep.equal({ kind: 'OK', unpublished: 0 });
    expect(await texts(target)).to.deep.equal(Array(6).fill('after'));
    expect(await target.hmget(keys.head, 'seq', 'dirty', 'position')).to.deep.equal(['5', '0', '5-0']);
  });

  it('makes the partition wait, dirties nothing, and every event counts once when the slot is whole', async () => {
    const fixture = new EngineFixture(cluster.source.url);
    try {
      const { topic, redis } = fixture;
      await fixture.worker();
      const users = ['u', ...topic.neighbours('u', 3)];
      const keys = topic.keysOf('u');
      const slot = await redis.cluster('KEYSLOT', keys.head);
      const spend = async (): Promise<bigint[]> =>
        Promise.all(users.map(async (user) => (await topic.user(user))?.profile.spend ?? 0n));
      for (const user of users) await topic.append([event('purchase_made', user, { amount: 1 })]);
      await topic.drained();
      await cluster.beginMove(slot);
      // Documents of half of the users; what is needed to read the stream stays.
      await cluster.moveKeys(users.slice(0, 2).map((user) => keys.doc(`user:default:${user}`)));
      // By hand: the append script names keys that are not there, and is refused too.
      const messages = users.map((user) => event('purchase_made', user, { amount: 2 }));
      await redis.xadd(
        keys.stream,
        '*',
        'v',
        '1',
        'n',
        String(messages.length),
        'm',
        JSON.stringify(messages),
      );
      await redis.incrby(keys.appended, messages.length);
      await until(5000, 'a commit was refused', async () =>
        /errorstat_TRYAGAIN:count=([5-9]|\d\d)/.test(await redis.info('errorstats')),
      );
      expect(await redis.hmget(keys.head, 'dirty', 'folded')).to.deep.equal(['0', '4']);
      await cluster.undoMove(slot);
      await topic.drained();
      expect(await spend()).to.deep.equal(Array(4).fill(30_000n));
    } finally {
      await fixture.close();
    }
  });
});
