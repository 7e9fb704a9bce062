import { expect } from 'chai';
import { append, UNBOUNDED } from '../../../shared/append/append.js';
import { recordControl } from '../../../shared/control/control-log.js';
import { EngineFixture } from '../../support/engine-fixture.js';
import { event } from '../../support/partitions.js';
import { RedisServer, until } from '../../support/redis-server.js';

describe('healing', () => {
  let fixture: EngineFixture;
  const servers: RedisServer[] = [];

  beforeEach(() => {
    fixture = new EngineFixture();
  });
  afterEach(async () => {
    await fixture.close();
    for (const server of servers.splice(0)) await server.stop();
  });

  async function ownServer(): Promise<RedisServer> {
    const server = await RedisServer.start();
    servers.push(server);
    await fixture.close();
    fixture = new EngineFixture(server.url);
    return server;
  }

  async function counts(amount: number, deadlineMs = 5000): Promise<void> {
    const { topic } = fixture;
    await topic.append([event('purchase_made', 'u', { amount })]);
    await topic.drained(deadlineMs);
  }

  it('goes on after FLUSHALL, from nothing', async () => {
    const { redis } = await ownServer().then(() => fixture);
    await fixture.worker();
    await counts(1);
    await redis.flushall();
    await counts(2);
    expect((await fixture.topic.user('u'))?.profile.spend).to.equal(20_000n);
    expect((await fixture.topic.partitionState(fixture.topic.indexOf('u'))).users).to.equal(1);
  });

  it('goes on after SCRIPT FLUSH', async () => {
    await fixture.worker();
    await counts(1);
    await fixture.redis.script('FLUSH');
    await counts(2);
    expect((await fixture.topic.user('u'))?.profile.spend).to.equal(30_000n);
  });

  it('makes a missing consumer group again, at the position of the head', async () => {
    const { redis, topic } = fixture;
    await fixture.worker();
    await counts(1);
    await redis.xgroup('DESTROY', topic.keysOf('u').stream, 'workers');
    await counts(2);
    expect((await topic.user('u'))?.profile.spend).to.equal(30_000n);
  });

  it('goes on after the stream was deleted', async () => {
    const { redis, topic } = fixture;
    await fixture.worker();
    await counts(1);
    await redis.del(topic.keysOf('u').stream);
    await counts(2);
    expect((await topic.user('u'))?.profile.spend).to.equal(30_000n);
  });

  it('goes on after all its connections were cut', async () => {
    await ownServer();
    await fixture.worker();
    await counts(1);
    for (const type of ['NORMAL', 'PUBSUB'])
      await fixture.redis.call('CLIENT', 'KILL', 'TYPE', type, 'SKIPME', 'yes');
    await counts(2);
    expect((await fixture.topic.user('u'))?.profile.spend).to.equal(30_000n);
  });

  it('goes on after a restart of Redis, with everything that was committed', async () => {
    const server = await ownServer();
    await fixture.worker();
    await counts(1);
    await server.restart();
    await until(3000, 'the test is connected again', () => fixture.redis.status === 'ready');
    await counts(2, 8000);
    expect((await fixture.topic.user('u'))?.profile.spend).to.equal(30_000n);
  });

  it('an owner whose head went back in time forgets everything and begins from the head', async () => {
    const { redis, topic } = fixture;
    await fixture.worker();
    await counts(1);
    const { head } = topic.keysOf('u');
    const saved = await redis.hgetall(head);
    const document = topic.keysOf('u').doc('user:default:u');
    const before = await redis.get(document);
    await counts(2);
    // As after a crash of a Redis that had not yet written its last second to disk.
    await redis.multi().hset(head, saved).set(document, before!).exec();
    await topic.append([event('purchase_made', 'u', { amount: 4 })]);
    await until(
      5000,
      'the third purchase counts',
      async () => (await topic.user('u'))?.profile.spend === 50_000n,
    );
  });

  it('gives a partition with a newer record batch away, changes nothing in it, and works on the others', async () => {
    const { redis, topic } = fixture;
    await fixture.worker();
    const [other = ''] = Array.from({ length: 50 }, (_, i) => `other-${i}`).filter(
      (name) => topic.indexOf(name) !== topic.indexOf('u'),
    );
    const { stream, lease, dead } = topic.keysOf('u');
    await counts(1);
    await redis.xadd(stream, '*', 'v', '3', 'n', '1', 'x', 'from the future');
    await until(3000, 'the partition is given up', async () => (await redis.get(lease)) === null);
    await topic.append([event('purchase_made', other, { amount: 1 })]);
    await until(3000, 'the others go on', async () => (await topic.user(other)) !== undefined);
    expect(await redis.xlen(dead)).to.equal(0);
    expect(await redis.xlen(stream)).to.be.above(0);
  });

  it('stops a partition whose commit failed half-way, says so, and goes on when the cause is gone', async () => {
    const { redis, topic } = fixture;
    const { opsUrl } = await fixture.worker();
    await counts(1);
    const { head, timers } = topic.keysOf('u');
    // A key of the wrong type: the script fails after its first writes.
    await redis.set(timers, 'not a sorted set');
    const cards = ['a', 'b', 'c', 'd', 'e'].map((card_id) =>
      event('credit_card_added', 'u', { card_id, zip_code: '1' }),
    );
    await topic.append(cards);
    await until(3000, 'the head is dirty', async () => (await redis.hget(head, 'dirty')) === '1');
    const seq = await redis.hget(head, 'seq');
    await topic.append([event('purchase_made', 'u', { amount: 1 })]);
    const alert = `weir_lease_changes_total{partition="events.${topic.indexOf('u')}",kind="failed"}`;
    await until(3000, 'the metric tells', async () =>
      (await (await fetch(`${opsUrl}/metrics`)).text()).includes(alert),
    );
    expect(await redis.hget(head, 'seq')).to.equal(seq);
    await redis.del(timers);
    // The pause of a partition that failed, and the step.
    await topic.drained(10_000);
    const user = await topic.user('u');
    expect([user?.profile.cards.length, user?.profile.spend]).to.deep.equal([5, 20_000n]);
    expect(await redis.hmget(head, 'seq', 'dirty', 'rest')).to.deep.equal([`${Number(seq) + 2}`, '0', '']);
  }).timeout(20_000);

  it('sends a control message to a partition that an API process never reached', async () => {
    const { redis, topic } = fixture;
    await fixture.worker();
    const control = await recordControl(
      redis,
      topic.keys,
      { action: 'mode', rule: 'scam_message_rule', mode: 'off', lift: false },
      { settings: {}, text: '' },
      { mode: 'off' },
    );
    const message = { type: 'control', subject: '', id: `control-${control?.control}`, data: control };
    await append(redis, topic.all[0]!, [[JSON.stringify(message)]], UNBOUNDED);
    await until(6000, 'every partition has applied it', async () => {
      const states = await Promise.all(topic.all.map((_, index) => topic.partitionState(index)));
      return states.every((state) => state.rules['scam_message_rule']?.mode === 'off');
    });
    const first = await topic.partitionState(0);
    expect(first.controls).to.deep.equal([control?.control]);
  });
});
