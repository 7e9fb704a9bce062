import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { EngineFixture } from '../../support/engine-fixture.js';
import { event } from '../../support/partitions.js';
import { until } from '../../support/redis-server.js';

describe('npm run repair', () => {
  let fixture: EngineFixture;
  beforeEach(() => {
    fixture = new EngineFixture();
  });
  afterEach(() => fixture.close());

  /** The command as an operator runs it, in a process of its own. */
  function repair(...args: string[]): Promise<{ code: number; out: string }> {
    const module = fileURLToPath(new URL('../../../consumer/repair/main.js', import.meta.url));
    const env = { PATH: process.env['PATH'], ...fixture.environment };
    return new Promise((resolve) => {
      const child = execFile(process.execPath, [module, ...args], { env }, (_error, out, err) =>
        resolve({ code: child.exitCode ?? -1, out: out + err }),
      );
    });
  }

  /** Cards that restrict a user, in a commit that fails at its outbox, after its documents. */
  async function failHalfway(): Promise<{ partition: string; head: string; outbox: string }> {
    const { topic, redis } = fixture;
    const worker = await fixture.worker();
    await topic.append([event('purchase_made', 'u', { amount: 1 })]);
    await topic.drained();
    const { head, outbox } = topic.keysOf('u');
    await redis.set(outbox, 'not a stream');
    const cards = ['a', 'b', 'c', 'd', 'e'].map((card_id) =>
      event('credit_card_added', 'u', { card_id, zip_code: card_id }),
    );
    await topic.append([event('purchase_made', 'u', { amount: 2 }), ...cards]);
    await until(3000, 'the head is dirty', async () => (await redis.hget(head, 'dirty')) === '1');
    await worker.close();
    return { partition: `events.${topic.indexOf('u')}`, head, outbox };
  }

  const spend = async (): Promise<bigint | undefined> => (await fixture.topic.user('u'))?.profile.spend;

  it('says why a commit failed and what is left, and finishes it once the cause is gone', async () => {
    const { partition, outbox, head } = await failHalfway();
    const stuck = await repair(partition);
    expect(stuck.code).to.equal(1);
    expect(stuck.out)
      .to.match(/failed half-way: WRONGTYPE /)
      .and.match(/left to do: XADD/);
    expect(stuck.out).to.include('not finished: WRONGTYPE');
    await fixture.redis.del(outbox);
    const done = await repair(partition);
    expect(done.code).to.equal(0);
    expect(done.out).to.include('finished: the commit is whole');
    expect(await fixture.redis.hget(head, 'dirty')).to.equal('0');
    expect(await repair(partition)).to.deep.equal({
      ...{ code: 0, out: `${partition}: its head is not dirty, there is nothing to repair\n` },
    });
    await fixture.worker();
    await fixture.topic.append([event('purchase_made', 'u', { amount: 4 })]);
    await fixture.topic.drained();
    expect(await spend()).to.equal(70_000n);
  });

  it('folds the step again only if told so, where the head does not say what is left', async () => {
    const { partition, outbox, head } = await failHalfway();
    await fixture.redis.del(outbox);
    // As a worker of the version before left it.
    await fixture.redis.hdel(head, 'rest', 'error');
    const refused = await repair();
    expect([refused.code, await fixture.redis.hget(head, 'dirty')]).to.deep.equal([1, '1']);
    expect(refused.out).to.include('cannot be known').and.include('--fold-again');
    const again = await repair('--fold-again', partition);
    expect([again.code, await fixture.redis.hget(head, 'dirty')]).to.deep.equal([0, '0']);
    await fixture.worker();
    await fixture.topic.drained();
    // Its document had been written: what the command warned of.
    expect(await spend()).to.equal(50_000n);
  });

  it('goes on without ids that are missing from Redis only if told so', async () => {
    const { topic, redis } = fixture;
    const worker = await fixture.worker();
    const purchase = event('purchase_made', 'u', { amount: 1 });
    await topic.append([purchase, purchase]);
    await topic.drained();
    expect(await spend()).to.equal(10_000n);
    await worker.close();
    const partition = `events.${topic.indexOf('u')}`;
    const keys = topic.keysOf('u');
    const [[generation]] = JSON.parse((await redis.hget(keys.head, 'ids'))!) as [[number]];
    expect(await redis.del(keys.ids(generation, 0))).to.equal(1);
    await fixture.worker();
    const refused = await repair(partition);
    expect([refused.code, await redis.exists(keys.ids(generation, 0))]).to.deep.equal([1, 0]);
    expect(refused.out).to.include('ids are missing from Redis, 1 chunks').and.include('--forget-ids');
    expect((await repair('--forget-ids', partition)).code).to.equal(0);
    expect(await repair(partition)).to.deep.equal({
      ...{ code: 0, out: `${partition}: its head is not dirty, there is nothing to repair\n` },
    });
    await topic.append([purchase, purchase]);
    await topic.drained();
    // It counts twice, as the command said, and is remembered from then on.
    expect(await spend()).to.equal(20_000n);
  });

  it('refuses a partition that there is not', async () => {
    const { code, out } = await repair('events.99');
    expect(code).to.equal(2);
    expect(out).to.match(/^not repaired: there is no partition events\.99/);
  });
});
