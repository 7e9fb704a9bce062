import { expect } from 'chai';
import { append, UNBOUNDED } from '../../../shared/append/append.js';
import { recordControl } from '../../../shared/control/control-log.js';
import { encodeUser } from '../../../shared/state/state-codec.js';
import { NEW_USER } from '../../../shared/state/user-state.js';
import { HANGING_CARD } from '../../support/dangerous-rule.js';
import { EngineFixture } from '../../support/engine-fixture.js';
import { event } from '../../support/partitions.js';
import { until } from '../../support/redis-server.js';
import { Fleet } from '../../support/worker-process.js';
import { FAST } from '../../support/workers.js';

describe('bounds of the engine', () => {
  let fixture: EngineFixture;
  beforeEach(() => {
    fixture = new EngineFixture();
  });
  afterEach(() => fixture.close());

  it('a step of users with large documents is cut into commits that Redis can take', async function () {
    this.timeout(60_000);
    const { topic, redis } = fixture;
    const users = ['u', ...topic.neighbours('u', 599)];
    const cards = Array.from({ length: 256 }, (_, i) => [`${i}`.padEnd(128, 'c'), 'z'.repeat(128)] as const);
    const large = encodeUser({ ...NEW_USER, known: true, profile: { ...NEW_USER.profile, cards } });
    expect(large.length).to.be.above(60_000);
    for (const user of users) await redis.set(topic.keysOf('u').doc(`user:default:${user}`), large);
    for (let start = 0; start < users.length; start += 200) {
      await topic.append(
        users.slice(start, start + 200).map((user) => event('purchase_made', user, { amount: 1 })),
      );
    }
    await fixture.worker();
    await topic.drained(30_000);
    for (const user of users) expect((await topic.user(user))?.profile.spend).to.equal(10_000n);
    // 600 documents of 67 kB are 40 MB; 8 MiB a commit.
    expect(Number(await redis.hget(topic.keysOf('u').head, 'seq'))).to.be.above(4);
    await redis.del(users.map((user) => topic.keysOf('u').doc(`user:default:${user}`)));
  });

  it('a rollback step lifts every one of its users, however large their documents are', async function () {
    this.timeout(60_000);
    const { topic, redis } = fixture;
    const keys = topic.keysOf('u');
    const users = ['u', ...topic.neighbours('u', 249)];
    const cards = Array.from({ length: 256 }, (_, i) => [`${i}`.padEnd(128, 'c'), 'z'.repeat(128)] as const);
    const restrictions = [
      {
        ...{ rule: 'scam_message_rule', version: 1, feature: 'message' as const, reason: 'test' },
        ...{ evidence: [], restrictedAt: 1000, expiresAt: null },
      },
    ];
    const profile = { ...NEW_USER.profile, cards, scamFlags: 2 };
    const large = encodeUser({ ...NEW_USER, known: true, profile, restrictions });
    for (const user of users) {
      await redis.set(keys.doc(`user:default:${user}`), large);
      await redis.zadd(keys.index('restricted:scam_message_rule'), 1000, `default:${user}`);
    }
    await fixture.worker();
    const data = { control: '5-0', rule: 'scam_message_rule', action: 'rollback', since: 0 };
    const message = { type: 'control', subject: '', id: 'control-5-0', data, reply: 'test/rollback' };
    await append(redis, keys, [[JSON.stringify(message)]], UNBOUNDED);
    await until(
      20_000,
      'the rollback replies',
      async () => (await redis.get(keys.reply('rollback'))) !== null,
    );
    expect(JSON.parse((await redis.get(keys.reply('rollback')))!)).to.deep.equal({ lifted: 250 });
    for (const user of users) expect((await topic.user(user))?.restrictions).to.deep.equal([]);
    await redis.del(users.map((user) => keys.doc(`user:default:${user}`)));
  });

  it('an entry is never appended at or below the head, whatever the clock of Redis says', async () => {
    const { topic, redis } = fixture;
    await fixture.worker();
    await topic.append([event('purchase_made', 'u', { amount: 1 })]);
    await topic.drained();
    // As after a failover to a server whose clock lags: the head is a day ahead.
    const aheadMs = Date.now() + 86_400_000;
    const keys = topic.keysOf('u');
    const owners = await topic.owners();
    await redis.del(keys.lease);
    await redis.hset(keys.head, 'position', `${aheadMs}-7`);
    await until(3000, 'somebody owns it again', async () => {
      const lease = await redis.get(keys.lease);
      return lease?.startsWith(owners[0]!) === true;
    });
    await topic.append([event('purchase_made', 'u', { amount: 2 })]);
    await topic.append([event('purchase_made', 'u', { amount: 4 })]);
    await topic.drained();
    expect((await topic.user('u'))?.profile.spend).to.equal(70_000n);
    expect(await redis.hget(keys.head, 'position')).to.equal(`${aheadMs}-9`);
  });

  it('a missing control is sent once by each owner, however long it takes to be folded', async () => {
    const { topic, redis } = fixture;
    await fixture.worker({ DEAD_LETTERS_MAX: '1' });
    await topic.append([event('nonsense', 'u')]);
    await topic.drained();
    const rule = 'scam_message_rule';
    await recordControl(
      redis,
      topic.keys,
      { action: 'mode', rule, mode: 'off', lift: false },
      { settings: {}, text: '' },
      { mode: 'off' },
    );
    const others = topic.all.map((_, index) => index).filter((index) => index !== topic.indexOf('u'));
    await until(6000, 'the other partitions have it', async () => {
      const states = await Promise.all(others.map((index) => topic.partitionState(index)));
      return states.every((state) => state.rules[rule]?.mode === 'off');
    });
    // The partition with full dead letters folds nothing: what waits there must not grow.
    const { appended } = topic.keysOf('u');
    await until(3000, 'it was sent', async () => Number(await redis.get(appended)) === 2);
    const fiveHeartbeatsMs = 5 * Number(FAST.HEARTBEAT_MS);
    await new Promise((resolve) => setTimeout(resolve, fiveHeartbeatsMs));
    expect(await redis.get(appended)).to.equal('2');
  });

  it('one poisoned partition blames no message of another that is tried at the same time', async function () {
    this.timeout(60_000);
    const { topic } = fixture;
    const settings = { ...fixture.environment, STALL_MS_MAX: '500', LOG_LEVEL: 'silent' };
    const [innocent = ''] = Array.from({ length: 50 }, (_, i) => `innocent-${i}`).filter(
      (name) => topic.indexOf(name) !== topic.indexOf('u'),
    );
    // Every partition has lost four owners: all are cautious, and share one probe process.
    for (const keys of topic.all) await fixture.redis.hset(keys.head, 'takeovers', 4);
    await topic.append([event('credit_card_added', 'u', { card_id: HANGING_CARD, zip_code: '1' }, 'poison')]);
    await append(
      fixture.redis,
      topic.keysOf(innocent),
      [Array.from({ length: 50 }, () => JSON.stringify(event('purchase_made', innocent, { amount: 1 })))],
      UNBOUNDED,
    );
    const fleet = await Fleet.start(1, settings, 'test/support/dangerous-worker.js');
    fixture.onClose(() => fleet.close());
    await until(30_000, 'every message is dealt with', async () => {
      await fleet.replaceDead();
      return (await topic.backlog()) === 0;
    });
    expect((await topic.user(innocent))?.profile.spend).to.equal(500_000n);
    expect(await fixture.redis.xlen(topic.keysOf(innocent).dead)).to.equal(0);
    expect(await fixture.redis.xlen(topic.keysOf('u').dead)).to.equal(1);
  });
});
