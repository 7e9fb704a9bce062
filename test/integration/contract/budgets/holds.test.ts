import { expect } from 'chai';
import { nanoid } from 'nanoid';
import { until } from '../../../support/redis-server.js';
import { WeirFixture } from '../../../support/weir-fixture.js';
import { BudgetCaller, LONG_WINDOW } from './budget-caller.js';

describe('contract: an admission holds its grant until it is settled, cancelled or expires', () => {
  let weir: WeirFixture;
  let caller: BudgetCaller;
  before(async () => {
    weir = await WeirFixture.start({ settings: LONG_WINDOW });
  });
  after(() => weir.close());
  beforeEach(() => {
    caller = new BudgetCaller(weir.http, nanoid(10));
  });

  const monitoring = async (): Promise<readonly [settled: number, held: number]> => {
    const { global, monitoring } = await caller.used();
    expect(global).to.deep.equal(monitoring);
    return monitoring!;
  };

  it('is held at every level, and answered with what remains', async () => {
    const { status, body } = await caller.admit('monitoring', 'P1', 5000, { hold_seconds: 60 });
    expect(status).to.equal(201);
    expect([body.decision, body.status, body.granted_tokens]).to.deep.equal(['ALLOW', 'held', 5000]);
    expect(body.remaining).to.deep.equal({ global: 945_000, monitoring: 327_500 });
    const left = Date.parse(body.expires_at) - Date.now();
    expect(left).to.be.above(50_000).and.at.most(61_000);
    expect(await monitoring()).to.deep.equal([0, 5000]);
  });

  it('a settle charges what was used: less gives back', async () => {
    const { body } = await caller.admit('monitoring', 'P1', 5000);
    const settled = await caller.settle(body.admission_id, 1234);
    expect([settled.status, settled.body.status, settled.body['charged_tokens']]).to.deep.equal([
      200,
      'settled',
      1234,
    ]);
    expect(await monitoring()).to.deep.equal([1234, 0]);
  });

  it('… more is charged in full, beyond every limit, and recorded as overrun', async () => {
    const { body } = await caller.admit('monitoring', 'P1', 5000);
    const settled = await caller.settle(body.admission_id, 400_000);
    expect([settled.status, settled.body['charged_tokens'], settled.body['overrun_tokens']]).to.deep.equal([
      200, 400_000, 395_000,
    ]);
    expect(await monitoring()).to.deep.equal([400_000, 0]);
    expect((await caller.admit('monitoring', 'P1', 1)).status).to.equal(429);
  });

  it('a second settle with the same figure changes nothing, with another it is 409', async () => {
    const { body } = await caller.admit('monitoring', 'P1', 5000);
    const answers = await Promise.all(Array.from({ length: 10 }, () => caller.settle(body.admission_id, 77)));
    expect(new Set(answers.map(({ status }) => status))).to.deep.equal(new Set([200]));
    const other = await caller.settle(body.admission_id, 78);
    expect([other.status, other.body.code]).to.deep.equal([409, 'admission_over']);
    const cancelled = await caller.cancel(body.admission_id);
    expect([cancelled.status, cancelled.body.code]).to.deep.equal([409, 'admission_over']);
    expect(await monitoring()).to.deep.equal([77, 0]);
  });

  it('a cancel gives everything back, once; a stream that broke leaves no stuck hold', async () => {
    const { body } = await caller.admit('monitoring', 'P1', 5000);
    const answers = await Promise.all(Array.from({ length: 10 }, () => caller.cancel(body.admission_id)));
    expect(new Set(answers.map(({ status }) => status))).to.deep.equal(new Set([200]));
    expect(await monitoring()).to.deep.equal([0, 0]);
    const settled = await caller.settle(body.admission_id, 5);
    expect([settled.status, settled.body.code]).to.deep.equal([409, 'admission_over']);
  });

  it('expires by itself and gives back; a late settle is still charged, once', async () => {
    const { body } = await caller.admit('monitoring', 'P1', 5000, { hold_seconds: 1 });
    await until(5000, 'it has expired', async () => {
      const { body: now } = await caller.admission(body.admission_id);
      return now.status === 'expired';
    });
    expect(await monitoring()).to.deep.equal([0, 0]);
    for (let times = 0; times < 3; times += 1) {
      const late = await caller.settle(body.admission_id, 4000);
      expect([late.status, late.body.status, late.body['charged_tokens']]).to.deep.equal([
        200,
        'settled',
        4000,
      ]);
    }
    expect(await monitoring()).to.deep.equal([4000, 0]);
  });

  it('with HOLD_EXPIRY=charge an expired hold is charged; a late settle corrects it', async () => {
    const charging = await WeirFixture.start({ settings: { ...LONG_WINDOW, HOLD_EXPIRY: 'charge' } });
    try {
      caller = new BudgetCaller(charging.http, nanoid(10));
      const { body } = await caller.admit('monitoring', 'P1', 5000, { hold_seconds: 1 });
      await until(5000, 'it is charged', async () => (await caller.used())['monitoring']![0] === 5000);
      expect(await monitoring()).to.deep.equal([5000, 0]);
      const late = await caller.settle(body.admission_id, 1000);
      expect([late.status, late.body['charged_tokens']]).to.deep.equal([200, 1000]);
      expect(await monitoring()).to.deep.equal([1000, 0]);
    } finally {
      await charging.close();
    }
  });

  it("another tenant's admission does not exist", async () => {
    const { body } = await caller.admit('monitoring', 'P1', 5000);
    const stranger = new BudgetCaller(weir.http, nanoid(10));
    const answers = [
      await stranger.admission(body.admission_id),
      await stranger.settle(body.admission_id, 1),
      await stranger.cancel(body.admission_id),
    ];
    for (const { status, body: problem } of answers)
      expect([status, problem.code]).to.deep.equal([404, 'admission_not_found']);
    expect(await monitoring()).to.deep.equal([0, 5000]);
  });
});
