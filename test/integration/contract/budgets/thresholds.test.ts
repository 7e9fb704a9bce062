import { expect } from 'chai';
import { nanoid } from 'nanoid';
import { WeirFixture } from '../../../support/weir-fixture.js';
import { BudgetCaller, LONG_WINDOW } from './budget-caller.js';

/** The defaults: monitoring has 350,000; soft 0.85 is 297,500, hard 0.95 is 332,500, P0 up to 1.5 is 525,000. */
describe("contract: the seed's thresholds, through POST /v1/evaluate", () => {
  let weir: WeirFixture;
  let caller: BudgetCaller;
  before(async () => {
    weir = await WeirFixture.start({ settings: LONG_WINDOW });
  });
  after(() => weir.close());
  // A tenant of its own has a budget of its own.
  beforeEach(() => {
    caller = new BudgetCaller(weir.http, nanoid(10));
  });

  it('an empty budget allows every priority', async () => {
    for (const priority of ['P0', 'P1', 'P2'] as const) {
      const { decision, context } = await caller.evaluate('monitoring', priority, 1000);
      expect([decision, context['granted_tokens']]).to.deep.equal(['ALLOW', 1000]);
    }
    expect(await caller.used()).to.deep.equal({
      global: [3000, 0],
      monitoring: [3000, 0],
      enrichment: [0, 0],
      ranking: [0, 0],
    });
  });

  for (const priority of ['P1', 'P2'] as const) {
    it(`${priority} at 84 %: allowed up to the soft limit itself, degraded by one token more`, async () => {
      await caller.use('monitoring', 294_000);
      expect(await caller.decision('monitoring', priority, 3501)).to.equal('ALLOW_DEGRADED');
      expect((await caller.used())['monitoring']).to.deep.equal([294_000 + 1751, 0]);
      expect(await caller.decision('monitoring', priority, 297_500 - 295_751)).to.equal('ALLOW');
      expect((await caller.used())['monitoring']).to.deep.equal([297_500, 0]);
    });

    it(`${priority} at 86 %: degraded, at half of the estimate, on every level`, async () => {
      await caller.use('monitoring', 301_000);
      const { decision, context } = await caller.evaluate('monitoring', priority, 1000);
      expect([decision, context['granted_tokens']]).to.deep.equal(['ALLOW_DEGRADED', 500]);
      const used = await caller.used();
      expect([used['global'], used['monitoring']]).to.deep.equal([
        [301_500, 0],
        [301_500, 0],
      ]);
    });

    it(`${priority} at 94 %: degraded up to the hard limit itself, refused by one token more`, async () => {
      await caller.use('monitoring', 329_000);
      const { decision, context } = await caller.evaluate('monitoring', priority, 3501);
      expect([decision, context['reason'], context['level']]).to.deep.equal([
        'REJECT',
        'budget_exhausted',
        'monitoring',
      ]);
      expect((await caller.used())['monitoring']).to.deep.equal([329_000, 0]);
      expect(await caller.decision('monitoring', priority, 3500)).to.equal('ALLOW_DEGRADED');
    });

    it(`${priority} at 95 %: refused, and nothing is debited anywhere`, async () => {
      await caller.use('monitoring', 332_500);
      expect(await caller.decision('monitoring', priority, 1)).to.equal('REJECT');
      const used = await caller.used();
      expect([used['global'], used['monitoring']]).to.deep.equal([
        [332_500, 0],
        [332_500, 0],
      ]);
    });
  }

  it('P0 goes on to 150 %, to the token, and no further', async () => {
    await caller.use('monitoring', 525_000 - 1);
    expect(await caller.decision('monitoring', 'P0', 2)).to.equal('REJECT');
    expect(await caller.decision('monitoring', 'P0', 1)).to.equal('ALLOW');
    expect(await caller.decision('monitoring', 'P0', 1)).to.equal('REJECT');
    expect((await caller.used())['monitoring']).to.deep.equal([525_000, 0]);
  });

  it('the global level degrades and refuses where the pipeline has room', async () => {
    await caller.use('monitoring', 525_000);
    await caller.use('enrichment', 325_000);
    // 850,000 of 1,000,000: ranking itself is empty.
    expect(await caller.decision('ranking', 'P1', 1000)).to.equal('ALLOW_DEGRADED');
    await caller.use('enrichment', 99_000);
    const { decision, context } = await caller.evaluate('ranking', 'P2', 1000);
    expect([decision, context['level']]).to.deep.equal(['REJECT', 'global']);
    expect(await caller.decision('ranking', 'P0', 1000)).to.equal('ALLOW');
  });

  it('a whale, more than a tenth of the global budget, is refused whatever its priority', async () => {
    for (const priority of ['P0', 'P1', 'P2'] as const) {
      const { decision, context } = await caller.evaluate('monitoring', priority, 100_001);
      expect([decision, context['reason'], context['retryable']]).to.deep.equal([
        'REJECT',
        'request_too_large',
        false,
      ]);
    }
    expect(await caller.decision('monitoring', 'P1', 100_000)).to.equal('ALLOW');
  });

  it('a pipeline that nobody configured is 400', async () => {
    const body = { pipeline: '__proto__', priority: 'P1', estimated_tokens: 1 };
    const answer = await caller.send<{ code: string }>('POST', '/v1/evaluate', body);
    expect([answer.status, answer.body.code]).to.deep.equal([400, 'unknown_pipeline']);
  });

  it('without a request id nothing is deduped; with one the answer is the same, and debited once', async () => {
    await caller.evaluate('monitoring', 'P1', 1000);
    await caller.evaluate('monitoring', 'P1', 1000);
    expect((await caller.used())['monitoring']).to.deep.equal([2000, 0]);
    const more = { request_id: 'the same' };
    const answers = await Promise.all(
      Array.from({ length: 20 }, () => caller.evaluate('monitoring', 'P1', 1000, more)),
    );
    expect(new Set(answers.map(({ decision }) => decision))).to.deep.equal(new Set(['ALLOW']));
    expect((await caller.used())['monitoring']).to.deep.equal([3000, 0]);
  });
});
