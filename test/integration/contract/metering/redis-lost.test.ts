import { expect } from 'chai';
import { until } from '../../../support/redis-server.js';
import { WeirFixture } from '../../../support/weir-fixture.js';
import { Caller, type WindowView } from './caller.js';
import { QUICK } from './quick.js';
import { iso, usages } from './usage.js';

describe('contract: Redis lost, Postgres kept', () => {
  let weir: WeirFixture;
  afterEach(() => weir.close());

  /** What FLUSHALL does, for this installation alone. */
  async function loseRedis(): Promise<void> {
    for (let left = true; left; ) {
      const keys = await weir.redis.keys(`${weir.namespace}:*`);
      left = keys.length > 0;
      if (left) await weir.redis.unlink(keys);
    }
  }

  it('what Postgres has of a window is added to, not replaced; the window that is under way included', async function () {
    this.timeout(60_000);
    // Windows of a minute: the second half of the test is in the one in which Redis is lost.
    weir = await WeirFixture.start({ postgres: true, settings: { ...QUICK, WINDOW_SECONDS: '60' } });
    const caller = new Caller(weir.http);
    // Not at the very end of a minute.
    await until(15_000, 'room in this minute', () => Date.now() % 60_000 < 45_000);
    const present = Date.now() - (Date.now() % 60_000);
    const past = present - 600_000;
    await caller.postAll(usages(5, 'c', { timestamp: iso(past) }));
    await caller.postAll(usages(3, 'c', { timestamp: iso(present) }));
    await caller.windowWhen(
      'c',
      past,
      'settled',
      ({ settling, status }) => status === 'revised' && !settling,
    );
    await weir.usage.drained();
    await weir.usage.archived();
    await loseRedis();
    await until(10_000, 'the partitions are owned again', async () => {
      const owned = await Promise.all(weir.usage.all.map(({ lease }) => weir.redis.exists(lease)));
      return owned.every((exists) => exists === 1);
    });
    await caller.postAll(usages(2, 'c', { timestamp: iso(past) }));
    await caller.postAll(usages(4, 'c', { timestamp: iso(present) }));
    const calls = (count: number) => (window: WindowView) => window.aggregations.totalCalls === count;
    const old = await caller.windowWhen('c', past, 'corrected', calls(7));
    expect([old.status, old.revision]).to.deep.equal(['revised', 3]);
    // It had no row yet when Redis was lost: what was counted in the open window is gone, and the reconciler says so.
    await caller.windowWhen('c', present, 'counted', calls(4));
  });
});
