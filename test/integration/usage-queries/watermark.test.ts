import { expect } from 'chai';
import { Redis } from 'ioredis';
import { Keys, type PartitionKeys } from '../../../shared/keys.js';
import { readWatermark } from '../../../shared/usage/read-watermark.js';
import { testNamespace, testRedis } from '../../support/hooks.js';

interface Head {
  readonly at?: number;
  readonly position?: string;
}

describe('usage queries: the watermark', () => {
  let redis: Redis;
  let keys: PartitionKeys;

  beforeEach(() => {
    redis = new Redis(testRedis().url, { protocol: 2 });
    keys = new Keys(testNamespace()).partition({ topic: 'usage', index: 0 });
  });
  afterEach(() => {
    redis.disconnect();
  });

  /** Entries of two messages each; `waiting` messages are not folded. */
  async function watermarkOf(entries: readonly string[], waiting: number, head: Head): Promise<number> {
    for (const id of entries) await redis.xadd(keys.stream, id, 'v', 1, 'n', 2, 'm', '[]');
    await redis.set(keys.appended, 2 * entries.length);
    await redis.hset(keys.head, { ...head, folded: 2 * entries.length - waiting });
    return (await readWatermark(redis, keys)).watermarkMs;
  }

  it('is the present where nothing waits', async () => {
    await watermarkOf(['5000-0'], 0, { at: 5000, position: '5000-0' });
    const { watermarkMs, asOfMs } = await readWatermark(redis, keys);
    expect(watermarkMs).to.equal(asOfMs);
    expect(Math.abs(asOfMs - Date.now())).to.be.below(5000);
  });

  it('is before the millisecond of an entry that is folded in part', async () => {
    const head = { at: 5000, position: '4000-0' };
    expect(await watermarkOf(['4000-0', '5000-0'], 1, head)).to.equal(4999);
  });

  it('is before a millisecond of which one entry is folded and another waits', async () => {
    const head = { at: 5000, position: '5000-0' };
    expect(await watermarkOf(['4000-0', '5000-0', '5000-1'], 2, head)).to.equal(4999);
  });

  it('is just before the first that waits, however long nothing came', async () => {
    const head = { at: 4000, position: '4000-0' };
    expect(await watermarkOf(['4000-0', '9000-0', '9500-0'], 4, head)).to.equal(8999);
  });

  it('is before what waits also where partition time is ahead of it: Redis’ clock was set back', async () => {
    const head = { at: 9000, position: '4000-0' };
    expect(await watermarkOf(['4000-0', '8000-0'], 2, head)).to.equal(7999);
  });

  it('is before the first entry of a new partition', async () => {
    expect(await watermarkOf(['5000-0'], 2, {})).to.equal(4999);
  });

  it('is never after the present', async () => {
    const ahead = Date.now() + 60_000;
    await watermarkOf([`${ahead}-0`, `${ahead}-1`], 2, { at: ahead, position: `${ahead}-0` });
    const { watermarkMs, asOfMs } = await readWatermark(redis, keys);
    expect(watermarkMs).to.equal(asOfMs);
  });

  it('is before the last input folded where nothing is found although something should wait', async () => {
    await redis.mset(keys.appended, 5);
    await redis.hset(keys.head, { at: 7000, folded: 4, position: '7000-0' });
    expect((await readWatermark(redis, keys)).watermarkMs).to.equal(6999);
    await redis.del(keys.head);
    expect((await readWatermark(redis, keys)).watermarkMs).to.equal(0);
  });
});
