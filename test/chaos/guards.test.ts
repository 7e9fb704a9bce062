import { expect } from 'chai';
import type { Guard } from '../support/cut-guard.js';
import { EngineFixture } from '../support/engine-fixture.js';
import { FaultyProxy } from '../support/faulty-proxy.js';
import { event } from '../support/partitions.js';
import { until } from '../support/redis-server.js';
import { WorkerProcess } from '../support/worker-process.js';

/**
 * Each guard of the commit against the one fault it is there for, staged exactly; and the same fault with the
 * guard cut out of the script, where it must do the damage. A guard that nobody can see failing is not tested.
 */
describe('the guards of the commit', () => {
  let fixture: EngineFixture;
  beforeEach(() => {
    fixture = new EngineFixture();
  });
  afterEach(() => fixture.close());

  async function workerBehindProxy(
    proxy: FaultyProxy,
    cut: Guard | undefined,
    batch: string,
  ): Promise<WorkerProcess> {
    const worker = await WorkerProcess.start(
      {
        ...fixture.environment,
        REDIS_URL: proxy.url,
        BATCH_MESSAGES_MAX: batch,
        REDIS_COMMAND_TIMEOUT_MS: '10000',
        ...(cut === undefined ? {} : { TEST_CUT_GUARD: cut }),
      },
      'test/support/dangerous-worker.js',
    );
    fixture.onClose(() => worker.end('SIGKILL'));
    return worker;
  }

  async function proxy(): Promise<FaultyProxy> {
    const started = await FaultyProxy.start(fixture.environment['REDIS_URL']!);
    fixture.onClose(() => started.close());
    return started;
  }

  /**
   * A worker folds 10 of 20 messages it has read and sends the commit, which is held up on the way. Its lease
   * runs out; 5 more messages come, and an heir folds all 25 in one commit, so that `seq` is just where the late
   * commit would see its own repetition. Then the late commit arrives, and whatever follows from its answer.
   * @returns what 25 purchases of 1 were counted as
   */
  async function lateCommit(cut: Guard | undefined): Promise<bigint | undefined> {
    const { topic } = fixture;
    const between = await proxy();
    const zombie = await workerBehindProxy(between, cut, '10');
    between.holdFromNextCommit();
    const purchases = (count: number) =>
      Array.from({ length: count }, () => event('purchase_made', 'u', { amount: 1 }));
    await topic.append(purchases(20));
    await until(3000, 'the commit is held up', () => between.heldCommits === 1);
    await topic.append(purchases(5));
    const heir = await fixture.worker({ BATCH_MESSAGES_MAX: '1000' });
    await topic.drained();
    between.releaseFirst();
    if (cut === 'fence') await until(3000, 'the zombie goes on', () => between.heldCommits === 1);
    between.releaseAll();
    await zombie.end('SIGTERM');
    await until(3000, 'the heir owns every partition', async () =>
      (await topic.owners()).every((owner) => owner === heir.workerId),
    );
    return (await topic.user('u'))?.profile.spend;
  }

  /**
   * The reply of a commit is lost, so the worker sends the same commit again.
   * @returns dead letters of one bad message
   */
  async function lostReply(cut: Guard | undefined): Promise<number> {
    const { topic, redis } = fixture;
    const between = await proxy();
    await workerBehindProxy(between, cut, '10');
    between.swallowNextCommitReply();
    await topic.append([event('purchase_made', 'u', { amount: 1 }), event('nonsense', 'u')]);
    await until(3000, 'the reply was swallowed', () => between.swallowed === 1);
    await topic.append([event('purchase_made', 'u', { amount: 1 })]);
    await until(5000, 'both purchases count', async () => (await topic.user('u'))?.profile.spend === 20_000n);
    return redis.xlen(topic.keysOf('u').dead);
  }

  it('a commit that comes after its lease has gone changes nothing', async () => {
    expect(await lateCommit(undefined)).to.equal(250_000n);
  });

  it('… and without the fence undoes what the heir has counted', async () => {
    expect(await lateCommit('fence')).to.equal(200_000n);
  });

  it('a commit that is sent again because its reply was lost takes effect once', async () => {
    expect(await lostReply(undefined)).to.equal(1);
  });

  it('… and without the seq check takes effect twice', async () => {
    expect(await lostReply('seq')).to.equal(2);
  });
});
