import { expect } from 'chai';
import { RECORD_BATCH_VERSION } from '../../../../shared/messages/record-batch.js';
import { until } from '../../../support/redis-server.js';
import { expectNoDrift } from '../../../support/run-reconcile.js';
import { BudgetsUnderFault, DECIDED, LOOK } from './failures.js';

const HOUR_MS = 3_600_000;

describe('contract: budgets while the clock of Redis jumps', () => {
  let budgets: BudgetsUnderFault;
  beforeEach(async () => {
    const settings = { BUDGET_WINDOW_SECONDS: '3600' };
    budgets = await BudgetsUnderFault.start({ postgres: true, settings });
    await budgets.weir.worker();
  });
  afterEach(() => budgets.close());

  const redisNow = async (): Promise<number> => {
    const [seconds, micros] = await budgets.weir.redis.time();
    return Number(seconds) * 1000 + Math.floor(Number(micros) / 1000);
  };

  /**
   * What a partition sees of a clock that jumps ahead: its lease has ended, and there is an entry (of no messages) with a
   * later id. No entry gets an earlier one after it, so it stands still there if the clock is back.
   * @returns the time it is then, ms
   */
  async function jump(aheadMs: number): Promise<number> {
    const to = (await redisNow()) + aheadMs;
    const { stream, lease } = budgets.keys;
    const commands = budgets.weir.redis.multi().del(lease);
    await commands.xadd(stream, `${to}-0`, 'v', RECORD_BATCH_VERSION, 'n', 0, 'm', '[]').exec();
    return to;
  }

  /** The same of an outbox: what is put into it has this time until the clock has caught up. */
  async function jumpOutbox(to: number): Promise<void> {
    const { outbox } = budgets.keys;
    await budgets.weir.redis.multi().xadd(outbox, `${to}-0`, 'type', '').xdel(outbox, `${to}-0`).exec();
  }

  it('ahead: windows and holds end early, retries are forgotten early; what is settled late still counts', async function () {
    this.timeout(60_000);
    const { weir, open } = budgets;
    await budgets.begin();
    const holds = await budgets.holds();
    const mine = { request_id: 'mine' };
    const first = await open.admit('llm', 'P1', LOOK.admit, mine);
    await budgets.expectUsed({ held: 4 * LOOK.hold + LOOK.admit, settled: 0 });
    await jump(1.5 * HOUR_MS);
    await until(10_000, 'every hold has expired', async () => {
      const admissions = await Promise.all(holds.map((id) => open.admission(id)));
      return admissions.every(({ body }) => body.status === 'expired');
    });
    await budgets.expectUsed({ held: 0, settled: 0 });
    await weir.ready();
    expect(await budgets.look(holds)).to.deep.equal({ open: DECIDED, closed: DECIDED });
    const again = await open.admit('llm', 'P1', LOOK.admit, mine);
    expect([again.status, again.body.admission_id === first.body.admission_id]).to.deep.equal([201, false]);
    // Late settles are charged to the window that is open now.
    await budgets.expectUsed({ held: 3 * LOOK.admit, settled: 2 * (LOOK.settle + LOOK.evaluate) });
    expect(await budgets.kinds()).to.deep.equal({
      ...{ cancel: 2, expire: 5, grant: 10, late_settle: 2, reset: 1 },
    });
    await expectNoDrift(weir.environment);
  });

  it('back: time stands still until the clock has caught up, and nothing is decided twice', async function () {
    this.timeout(60_000);
    const { weir, open, closed } = budgets;
    const levels = ['global', 'llm'].map((name, i) => ({
      name,
      ...(i > 0 && { parent: 'global' }),
      limit: 1000,
    }));
    await budgets.begin({ window_seconds: 1, max_request_share: 1, levels });
    const mine = { request_id: 'mine', hold_seconds: 600 };
    const first = await open.admit('llm', 'P1', 200, mine);
    const before = { grant: 1, reset: 1 };
    await until(10_000, 'its window has ended', async () => {
      expect(await budgets.kinds()).to.deep.equal(before);
      return true;
    });
    const to = await jump(3000);
    await jumpOutbox(to);
    await weir.ready();

    // A window with nothing used has begun, and lasts.
    const admitted = [await open.admit('llm', 'P1', 200), await closed.admit('llm', 'P1', 200)];
    for (const { status, body } of admitted) {
      expect([status, body['context'], body['created_at']]).to.deep.equal([
        201,
        undefined,
        new Date(to).toISOString(),
      ]);
    }
    for (const caller of [open, closed]) {
      const retry = await caller.admit('llm', 'P1', 200, mine);
      expect([retry.status, retry.body.admission_id]).to.deep.equal([200, first.body.admission_id]);
    }
    expect((await open.used())['llm']).to.deep.equal([0, 400]);
    expect(await open.decision('llm', 'P0', 900)).to.equal('ALLOW');
    const storm = { request_id: 'storm' };
    const refused = await closed.admit('llm', 'P1', 200, storm);
    expect([refused.status, refused.body.code]).to.deep.equal([429, 'budget_exhausted']);
    expect(refused.headers.get('retry-after')).to.equal('1');
    const resetsAt = Date.parse(String(refused.body['resets_at']));
    expect(resetsAt).to.be.within(to + 1, to + 1000);
    // The ledger waits with it.
    expect(await budgets.kinds()).to.deep.equal(before);
    expect(await redisNow(), 'the clock has not caught up yet').to.be.below(to);

    let retries = 0;
    let retried = refused;
    await until(10_000, 'the window has ended', async () => {
      retried = await [open, closed][retries % 2]!.admit('llm', 'P1', 200, storm);
      retries += 1;
      return retried.status !== 429;
    });
    expect([retried.status, retried.body.attempts]).to.deep.equal([201, retries + 1]);
    expect(await redisNow()).to.be.at.least(resetsAt);
    expect(retries).to.be.above(2);
    const again = await open.admit('llm', 'P1', 200, mine);
    expect([again.status, again.body.attempts]).to.deep.equal([200, 4]);
    await budgets.calm();
    await until(10_000, 'the ledger has all', async () => {
      expect(await budgets.kinds()).to.include({ grant: 5 });
      return true;
    });
    await expectNoDrift(weir.environment);
  });
});
