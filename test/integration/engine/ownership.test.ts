import { expect } from 'chai';
import { Redis } from 'ioredis';
import { testNamespace, testRedis } from '../../support/hooks.js';
import { EventsTopic, event } from '../../support/partitions.js';
import { patient, until } from '../../support/redis-server.js';
import { WorkerProcess } from '../../support/worker-process.js';
import { startWorker, type TestWorker } from '../../support/workers.js';

const REAL_TIMING = { LEASE_TTL_MS: '3000', HEARTBEAT_MS: '1000' } as const;
/** Where nothing may wait for a heartbeat, or for a lease to run out: far longer than a busy machine takes. */
const SLOW_TIMING = { LEASE_TTL_MS: '30000', HEARTBEAT_MS: '10000' } as const;

describe('ownership of partitions', () => {
  let redis: Redis;
  let topic: EventsTopic;
  let environment: Record<string, string>;
  const cleanup: (() => Promise<unknown>)[] = [];

  beforeEach(() => {
    redis = new Redis(testRedis().url);
    const namespace = testNamespace();
    topic = new EventsTopic(redis, namespace);
    environment = { REDIS_URL: testRedis().url, WEIR_NAMESPACE: namespace, ...REAL_TIMING };
  });

  afterEach(async () => {
    for (const clean of cleanup.splice(0)) await clean();
    redis.disconnect();
  });

  async function worker(): Promise<TestWorker> {
    const started = await startWorker(environment);
    cleanup.push(() => started.close());
    return started;
  }

  async function counts(): Promise<number[]> {
    const owners = await topic.owners();
    const byOwner = new Map<string, number>();
    for (const owner of owners) if (owner !== null) byOwner.set(owner, (byOwner.get(owner) ?? 0) + 1);
    return [...byOwner.values()].sort();
  }

  it('one worker owns every partition', async () => {
    const { workerId } = await worker();
    expect(await topic.owners()).to.deep.equal(Array(8).fill(workerId));
  });

  it('a partition that cannot be taken keeps nobody from the others, and no lease of it stays', async () => {
    await redis.set(topic.all[3]!.timers, 'not a sorted set');
    const { workerId } = await worker();
    const owners = Array.from({ length: 8 }, (_, index) => (index === 3 ? null : workerId));
    expect(await topic.owners()).to.deep.equal(owners);
  });

  it('a second worker gets its fair share within two heartbeats, a third likewise', async () => {
    Object.assign(environment, SLOW_TIMING);
    await worker();
    await worker();
    await until(2000, 'two workers own four each', async () => (await counts()).join() === '4,4');
    await worker();
    await until(2000, 'three workers own 2, 3 and 3', async () => (await counts()).join() === '2,3,3');
  });

  it('a worker that leaves hands its partitions over without waiting for a lease to run out', async () => {
    Object.assign(environment, SLOW_TIMING);
    const stays = await worker();
    const leaves = await worker();
    await until(2000, 'two workers own four each', async () => (await counts()).join() === '4,4');
    await leaves.close();
    await until(1000, 'one owns all', async () =>
      (await topic.owners()).every((owner) => owner === stays.workerId),
    );
  });

  it('the partitions of a worker killed -9 are taken over when its leases run out', async () => {
    const stays = await worker();
    const dies = await WorkerProcess.start(environment);
    await until(2000, 'two workers own four each', async () => (await counts()).join() === '4,4');
    const killed = Date.now();
    await dies.end('SIGKILL');
    await until(6000, 'one owns all', async () =>
      (await topic.owners()).every((owner) => owner === stays.workerId),
    );
    expect(Date.now() - killed).to.be.below(3000 + patient(500));
  });

  it('a partition keeps working while it moves: every event is counted once', async () => {
    await worker();
    const user = 'mover';
    for (let i = 0; i < 50; i += 1) {
      await topic.append([event('purchase_made', user, { amount: 1 })]);
      if (i % 10 === 5) await (await worker()).close();
    }
    await topic.drained();
    expect((await topic.user(user))?.profile.spend).to.equal(500_000n);
  });

  it('another partition count than the recorded one is refused', async () => {
    await worker();
    let message = '';
    await startWorker({ ...environment, PARTITIONS: '16' }).catch((error: Error) => {
      message = error.message;
    });
    expect(message).to.contain('PARTITIONS is 16').and.to.contain('was written with 8');
  });

  it('another length of windows than the recorded one is refused', async () => {
    await worker();
    let message = '';
    await startWorker({ ...environment, WINDOW_SECONDS: '60' }).catch((error: Error) => {
      message = error.message;
    });
    expect(message).to.contain('WINDOW_SECONDS is 60').and.to.contain('was written with 30');
  });
});
