import { expect } from 'chai';
import { Redis } from 'ioredis';
import { BacklogSampler } from '../../../api/backlog-sampler.js';
import { Keys } from '../../../shared/keys.js';
import { testNamespace, testRedis } from '../../support/hooks.js';

describe('BacklogSampler', () => {
  const partition = { topic: 'events', index: 0 } as const;
  let redis: Redis;
  let keys: Keys;
  let sampler: BacklogSampler;

  beforeEach(async () => {
    redis = new Redis(testRedis().url, { protocol: 2 });
    keys = new Keys(testNamespace());
    sampler = new BacklogSampler({ redis, keys, partitions: 2, workerTtlMs: 3000 });
    await redis.ping();
  });
  afterEach(() => redis.disconnect());

  it('says 5 seconds while it knows no rate', () => {
    expect(sampler.retryAfterSeconds(partition, 1000)).to.equal(5);
    sampler.record(partition, 1000, 0, 0);
    expect(sampler.retryAfterSeconds(partition, 1000)).to.equal(5);
  });

  it('says when a tenth of the backlog will have drained, within 1 to 60 seconds', () => {
    sampler.record(partition, 10_000, 0, 0);
    sampler.record(partition, 10_000, 50, 500);
    expect(sampler.drainRateOf(partition)).to.equal(100);
    expect(sampler.retryAfterSeconds(partition, 10_000)).to.equal(10);
    expect(sampler.retryAfterSeconds(partition, 10)).to.equal(1);
    expect(sampler.retryAfterSeconds(partition, 1_000_000)).to.equal(60);
  });

  it('says 60 seconds while nothing drains', () => {
    sampler.record(partition, 100, 0, 0);
    sampler.record(partition, 100, 0, 500);
    expect(sampler.retryAfterSeconds(partition, 100)).to.equal(60);
  });

  it('averages, so that one slow moment does not decide', () => {
    sampler.record(partition, 1000, 0, 0);
    sampler.record(partition, 1000, 100, 1000);
    sampler.record(partition, 1000, 100, 2000);
    expect(sampler.drainRateOf(partition)).to.equal(80);
  });

  it('keeps its rate while there is nothing to drain', () => {
    sampler.record(partition, 100, 0, 0);
    sampler.record(partition, 100, 100, 1000);
    sampler.record(partition, 100, 100, 2000);
    expect(sampler.drainRateOf(partition)).to.equal(100);
  });

  it('begins again when the counters were emptied', () => {
    sampler.record(partition, 100, 0, 0);
    sampler.record(partition, 200, 100, 1000);
    sampler.record(partition, 0, 0, 2000);
    expect(sampler.drainRateOf(partition)).to.equal(undefined);
    expect(sampler.backlogOf(partition)).to.equal(0);
  });

  it('reads backlogs and live workers from Redis', async () => {
    await redis.set(keys.partition(partition).appended, 70);
    await redis.hset(keys.partition(partition).head, 'folded', 20);
    const [seconds] = await redis.time();
    await redis.zadd(keys.workers, Number(seconds) * 1000, 'live', (Number(seconds) - 60) * 1000, 'gone');
    await sampler.tick();
    expect(sampler.backlogOf(partition)).to.equal(50);
    expect(sampler.backlogOf({ topic: 'events', index: 1 })).to.equal(0);
    expect(sampler.workersLive).to.equal(1);
  });
});
