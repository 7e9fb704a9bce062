import { expect } from 'chai';
import { EngineFixture } from '../../support/engine-fixture.js';
import { event } from '../../support/partitions.js';
import { until } from '../../support/redis-server.js';
import { WorkerProcess } from '../../support/worker-process.js';

describe('a zombie', () => {
  let fixture: EngineFixture;
  beforeEach(() => {
    fixture = new EngineFixture();
  });
  afterEach(() => fixture.close());

  it('a worker that was stopped past its lease and resumed commits nothing', async function () {
    this.timeout(60_000);
    const { topic, redis } = fixture;
    const zombie = await WorkerProcess.start({ ...fixture.environment, BATCH_MESSAGES_MAX: '50' });
    fixture.onClose(() => zombie.end('SIGKILL'));
    // Stopped in the middle of work: a backlog is there, many small commits are under way.
    const users = ['u', ...topic.neighbours('u', 20)];
    for (let i = 0; i < 100; i += 1) {
      await topic.append(users.map((user) => event('purchase_made', user, { amount: 1 })));
    }
    zombie.signal('SIGSTOP');
    // However fast it was, there is work left.
    await topic.append([event('purchase_made', 'u', { amount: 1 })]);
    const { head, lease } = topic.keysOf('u');
    expect(Number(await redis.hget(head, 'folded'))).to.be.below(2101);

    const heir = await fixture.worker();
    await until(5000, 'the heir owns every partition', async () =>
      (await topic.owners()).every((owner) => owner === heir.workerId),
    );
    await topic.append([event('purchase_made', 'u', { amount: 1 })]);
    await topic.drained();
    const [seq, owner] = [await redis.hget(head, 'seq'), await redis.get(lease)];
    zombie.signal('SIGCONT');
    await until(
      5000,
      'the zombie has noticed: it is a live member again',
      async () => (await redis.zcard(topic.keys.workers)) === 2,
    );
    // Whatever it had under way when it was stopped has been sent, and refused, before its next heartbeat.
    for (const user of users)
      expect((await topic.user(user))?.profile.spend).to.equal(user === 'u' ? 1_020_000n : 1_000_000n);
    expect(Number(seq)).to.be.above(0);
    expect(owner).to.contain(heir.workerId);
    expect(Number(await redis.hget(head, 'folded'))).to.equal(2102);
  });
});
