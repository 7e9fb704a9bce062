import { expect } from 'chai';
import { EngineFixture } from '../../support/engine-fixture.js';
import { FaultyProxy } from '../../support/faulty-proxy.js';
import { event } from '../../support/partitions.js';
import { until } from '../../support/redis-server.js';

describe('exactly once', () => {
  let fixture: EngineFixture;
  beforeEach(() => {
    fixture = new EngineFixture();
  });
  afterEach(() => fixture.close());

  it('folds a message id once per user, whoever repeats it and in whatever batch', async () => {
    const { topic } = fixture;
    await fixture.worker();
    const [other = ''] = topic.neighbours('u', 1);
    const purchase = event('purchase_made', 'u', { amount: 0.1 }, 'same-id');
    await topic.append([purchase, purchase, event('purchase_made', other, { amount: 5 }, 'same-id')]);
    await topic.append([purchase]);
    await topic.drained();
    await topic.append([purchase]);
    await topic.drained();
    expect((await topic.user('u'))?.profile.spend).to.equal(1000n);
    expect((await topic.user(other))?.profile.spend).to.equal(50_000n);
  });

  it('a new owner knows the ids of the one before', async () => {
    const { topic } = fixture;
    const first = await fixture.worker();
    const events = Array.from({ length: 300 }, (_, i) =>
      event('purchase_made', 'u', { amount: 1 }, `id-${i}`),
    );
    await topic.append(events.slice(0, 200));
    await topic.drained();
    await first.close();
    await fixture.worker();
    await topic.append(events.slice(100));
    await topic.drained();
    expect((await topic.user('u'))?.profile.spend).to.equal(3_000_000n);
  });

  it('remembers an id at no more than 10 bytes of Redis', async () => {
    const { topic, redis } = fixture;
    await fixture.worker({ PARTITIONS: '1' });
    const keys = topic.keys.partition({ topic: 'events', index: 0 });
    const ids = 50_000;
    for (let start = 0; start < ids; start += 250) {
      const batch = Array.from({ length: 250 }, (_, i) =>
        event('purchase_made', 'u', { amount: 1 }, `id-${start + i}`),
      );
      const { append, UNBOUNDED } = await import('../../../shared/append/append.js');
      await append(redis, keys, [batch.map((message) => JSON.stringify(message))], UNBOUNDED);
    }
    await until(20_000, 'all are folded', async () => Number(await redis.hget(keys.head, 'folded')) === ids);
    const chunks = await redis.keys(`${keys.base}:ids:*`);
    const sizes = await Promise.all(chunks.map((chunk) => redis.memory('USAGE', chunk)));
    const bytesPerId = sizes.reduce<number>((sum, size) => sum + (size ?? 0), 0) / ids;
    expect(bytesPerId).to.be.within(8, 10);
  });

  it('forgets ids after the window, not before, and drops their chunks', async () => {
    const { topic, redis } = fixture;
    await fixture.worker({ DEDUPE_WINDOW_SECONDS: '1' });
    const purchase = event('purchase_made', 'u', { amount: 1 }, 'again');
    /** When Redis took it, by the id of its entry, in seconds; and what counts then. */
    const fold = async () => {
      await topic.append([purchase]);
      await topic.drained();
      const position = await redis.hget(topic.keysOf('u').head, 'position');
      return { at: Number.parseInt(position!, 10) / 1000, spend: (await topic.user('u'))?.profile.spend };
    };
    const first = await fold();
    const repeats = [first];
    await until(5000, 'the id is forgotten', async () => {
      repeats.push(await fold());
      return repeats.at(-1)!.spend === 20_000n;
    });
    const counted = repeats.pop()!;
    // Two slots of a second: this one and the next.
    expect(Math.floor(counted.at) - Math.floor(first.at)).to.be.at.least(2);
    expect(counted.at - first.at).to.be.at.least(1);
    expect(repeats.map(({ at, spend }) => [Math.floor(at) - Math.floor(first.at) < 2, spend])).to.deep.equal(
      repeats.map(() => [true, 10_000n]),
    );
    expect(repeats.length).to.be.above(1);
    const generations = await redis.keys(`${topic.keysOf('u').base}:ids:*`);
    expect(generations.length).to.be.at.most(2);
  });

  it('trims what is folded from the stream, and what is written from the outbox', async () => {
    const { topic, redis } = fixture;
    await fixture.worker();
    await topic.append([event('scam_message_flagged', 'u'), event('scam_message_flagged', 'u')]);
    await topic.drained();
    const { stream, outbox } = topic.keysOf('u');
    await until(
      2000,
      'both are empty',
      async () => (await redis.xlen(stream)) + (await redis.xlen(outbox)) === 0,
    );
    const groups = (await redis.xinfo('GROUPS', stream)) as unknown[][];
    const group = groups[0]!;
    expect(group[group.indexOf('name') + 1]).to.equal('workers');
    expect(group[group.indexOf('pending') + 1]).to.equal(0);
  });

  it('a commit whose reply is lost is sent again and recognised', async () => {
    const { topic, redis } = fixture;
    const proxy = await FaultyProxy.start(fixture.environment['REDIS_URL']!);
    fixture.onClose(() => proxy.close());
    await fixture.worker({ REDIS_URL: proxy.url });
    await topic.append([event('purchase_made', 'u', { amount: 1 })]);
    await topic.drained();
    const seq = Number(await redis.hget(topic.keysOf('u').head, 'seq'));
    proxy.swallowNextCommitReply();
    await topic.append([event('purchase_made', 'u', { amount: 1 }), event('nonsense', 'u', {})]);
    await topic.drained();
    await until(5000, 'the reply was swallowed', () => proxy.swallowed === 1);
    await topic.append([event('purchase_made', 'u', { amount: 1 })]);
    await topic.drained();
    expect((await topic.user('u'))?.profile.spend).to.equal(30_000n);
    expect(await redis.xlen(topic.keysOf('u').dead)).to.equal(1);
    expect(Number(await redis.hget(topic.keysOf('u').head, 'seq'))).to.equal(seq + 2);
  });
});
