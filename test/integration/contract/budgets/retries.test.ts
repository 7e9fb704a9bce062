import { expect } from 'chai';
import { nanoid } from 'nanoid';
import { WeirFixture } from '../../../support/weir-fixture.js';
import { BudgetCaller, LONG_WINDOW } from './budget-caller.js';

describe('contract: an identical retry is the same admission, and debited once', () => {
  let weir: WeirFixture;
  let caller: BudgetCaller;
  let other: BudgetCaller;
  before(async () => {
    // A busy machine is no reason to answer undecided: that is tested elsewhere.
    const settings = { ...LONG_WINDOW, ADMISSION_DEADLINE_MS: '5000' };
    weir = await WeirFixture.start({ settings, workers: 2 });
    const second = await weir.api();
    other = new BudgetCaller(second);
  });
  after(() => weir.close());
  beforeEach(() => {
    const tenant = nanoid(10);
    caller = new BudgetCaller(weir.http, tenant);
    other = new BudgetCaller(other.http, tenant);
  });

  it('fifty at once through two API processes: one admission, one debit', async () => {
    const more = { request_id: 'storm' };
    const answers = await Promise.all(
      Array.from({ length: 50 }, (_, i) => [caller, other][i % 2]!.admit('ranking', 'P1', 1000, more)),
    );
    expect(answers.filter(({ status }) => status === 201).length).to.equal(1);
    expect(answers.filter(({ status }) => status === 200).length).to.equal(49);
    expect(new Set(answers.map(({ body }) => body.admission_id)).size).to.equal(1);
    expect((await caller.used())['ranking']).to.deep.equal([0, 1000]);
    const { body } = await caller.admission(answers[0]!.body.admission_id);
    expect(body.attempts).to.equal(50);
  });

  it('without a request id the whole body is what is compared, where it has a payload', async () => {
    const payload = { messages: [{ role: 'user', content: 'hello' }], temperature: 0.5 };
    const reordered = { temperature: 0.5, messages: [{ content: 'hello', role: 'user' }] };
    const first = await caller.admit('ranking', 'P1', 1000, { payload });
    const again = await other.admit('ranking', 'P1', 1000, { payload: reordered });
    expect([first.status, again.status]).to.deep.equal([201, 200]);
    expect(again.body.admission_id).to.equal(first.body.admission_id);
    const different = await caller.admit('ranking', 'P1', 1000, {
      payload: { ...payload, temperature: 0.6 },
    });
    const dearer = await caller.admit('ranking', 'P1', 1001, { payload });
    expect([different.status, dearer.status]).to.deep.equal([201, 201]);
    expect((await caller.used())['ranking']).to.deep.equal([0, 3001]);
  });

  it('an evaluation with a payload too: ten of them cost one', async () => {
    const payload = { prompt: 'the same' };
    const answers = await Promise.all(
      Array.from({ length: 10 }, (_, i) =>
        [caller, other][i % 2]!.evaluate('ranking', 'P1', 5000, { payload }),
      ),
    );
    expect(new Set(answers.map(({ decision }) => decision))).to.deep.equal(new Set(['ALLOW']));
    expect((await caller.used())['ranking']).to.deep.equal([5000, 0]);
    await other.evaluate('ranking', 'P1', 5000, { payload: { prompt: 'another' } });
    await caller.evaluate('ranking', 'P1', 5000, { payload, request_id: 'mine' });
    await caller.admit('ranking', 'P1', 5000, { payload });
    expect((await caller.used())['ranking']).to.deep.equal([15_000, 5000]);
  });

  it('neither a request id nor a payload: every request is its own', async () => {
    const answers = await Promise.all([1, 2, 3].map(() => caller.admit('ranking', 'P1', 1000)));
    expect(answers.map(({ status }) => status)).to.deep.equal([201, 201, 201]);
    expect((await caller.used())['ranking']).to.deep.equal([0, 3000]);
    await Promise.all([1, 2, 3].map(() => caller.evaluate('ranking', 'P1', 1000)));
    expect((await caller.used())['ranking']).to.deep.equal([3000, 3000]);
  });

  it('with EVALUATE_DEDUPE_MS equal bodies of evaluations are one, through two processes, and no others', async () => {
    const settings = { EVALUATE_DEDUPE_MS: '60000' };
    const [one, two] = (await Promise.all([weir.api(settings), weir.api(settings)])).map(
      (http) => new BudgetCaller(http, caller.tenant),
    );
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, i) => [one, two][i % 2]!.evaluate('ranking', 'P1', 5000)),
    );
    expect(answers.map(({ context }) => context['granted_tokens'])).to.deep.equal(Array(20).fill(5000));
    expect((await caller.used())['ranking']).to.deep.equal([5000, 0]);
    await one!.evaluate('ranking', 'P1', 5001);
    await two!.evaluate('ranking', 'P2', 5000);
    await one!.evaluate('ranking', 'P1', 5000, { request_id: 'mine' });
    expect((await two!.admit('ranking', 'P1', 5000)).status).to.equal(201);
    expect((await two!.admit('ranking', 'P1', 5000)).status).to.equal(201);
    expect((await caller.used())['ranking']).to.deep.equal([20_001, 10_000]);
  });

  it('the same request id with another body is a conflict, and changes nothing', async () => {
    const more = { request_id: 'mine' };
    await caller.admit('ranking', 'P1', 1000, more);
    for (const conflicting of [
      () => other.admit('ranking', 'P1', 2000, more),
      () => other.admit('ranking', 'P2', 1000, more),
      () => other.admit('monitoring', 'P1', 1000, more),
      () => other.admit('ranking', 'P1', 1000, { ...more, payload: 'new' }),
    ]) {
      const { status, body } = await conflicting();
      expect([status, body.code, body.retryable]).to.deep.equal([422, 'idempotency_conflict', false]);
    }
    expect((await caller.used())['ranking']).to.deep.equal([0, 1000]);
  });

  it('a retry of what is settled gets it as it is now; of what is cancelled, 409', async () => {
    const first = await caller.admit('ranking', 'P1', 1000, { request_id: 'a' });
    await caller.settle(first.body.admission_id, 10);
    const again = await other.admit('ranking', 'P1', 1000, { request_id: 'a' });
    expect([again.status, again.body.admission_id, again.body.status]).to.deep.equal([
      200,
      first.body.admission_id,
      'settled',
    ]);
    const second = await caller.admit('ranking', 'P1', 1000, { request_id: 'b' });
    await caller.cancel(second.body.admission_id);
    const over = await other.admit('ranking', 'P1', 1000, { request_id: 'b' });
    expect([over.status, over.body.code]).to.deep.equal([409, 'admission_over']);
    expect((await caller.used())['ranking']).to.deep.equal([10, 0]);
  });

  it('a refusal says whether and when to try again, and a storm of retries moves no counter', async () => {
    await caller.use('ranking', 285_000);
    await caller.admit('ranking', 'P1', 1000, { request_id: 'refused' });
    const before = await caller.budget();
    const answers = await Promise.all(
      Array.from({ length: 30 }, (_, i) =>
        [caller, other][i % 2]!.admit('ranking', 'P1', 1000, { request_id: 'refused' }),
      ),
    );
    for (const { status, body, headers } of answers) {
      expect([status, body.code, body.retryable, body.level]).to.deep.equal([
        429,
        'budget_exhausted',
        true,
        'ranking',
      ]);
      const resets = Date.parse(before.window.resets_at) - Date.now();
      expect(Math.abs(Number(headers.get('retry-after')) - resets / 1000)).to.be.below(5);
    }
    expect((await caller.budget()).levels).to.deep.equal(before.levels);
  });

  it('a request that was refused is admitted once there is room, and debited once', async () => {
    await caller.use('ranking', 260_000);
    const held = await caller.admit('ranking', 'P1', 24_000);
    const more = { request_id: 'later' };
    const first = await caller.admit('ranking', 'P1', 20_000, more);
    expect([first.status, first.body['available'], first.body['attempts']]).to.deep.equal([429, 13_000, 1]);
    await other.settle(held.body.admission_id, 4000);
    const dear = await other.admit('ranking', 'P1', 25_000, { request_id: 'dear' });
    expect([dear.status, dear.body['available']]).to.deep.equal([429, 21_000]);
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, i) => [caller, other][i % 2]!.admit('ranking', 'P1', 20_000, more)),
    );
    expect(answers.map(({ status }) => status).sort()).to.deep.equal([...Array(19).fill(200), 201]);
    expect(new Set(answers.map(({ body }) => body.admission_id)).size).to.equal(1);
    expect((await caller.used())['ranking']).to.deep.equal([264_000, 10_000]);
    expect((await caller.admission(answers[0]!.body.admission_id)).body.attempts).to.equal(21);
    const conflict = await other.admit('ranking', 'P1', 25_001, { request_id: 'dear' });
    expect([conflict.status, conflict.body.code]).to.deep.equal([422, 'idempotency_conflict']);
  });

  it('an evaluation that was refused is decided anew, and charged once', async () => {
    await caller.use('ranking', 260_000);
    const held = await caller.admit('ranking', 'P1', 24_000);
    const again = () => caller.evaluate('ranking', 'P1', 20_000, { request_id: 'evaluated' });
    expect(await again()).to.deep.nested.include({ decision: 'REJECT', 'context.available': 13_000 });
    await caller.cancel(held.body.admission_id);
    expect((await again()).decision).to.equal('ALLOW_DEGRADED');
    expect((await again()).context).to.deep.include({ granted_tokens: 10_000 });
    expect((await caller.used())['ranking']).to.deep.equal([270_000, 0]);
  });

  it('what can never fit is 422 and not worth a retry', async () => {
    const { status, body } = await caller.admit('ranking', 'P0', 100_001);
    expect([status, body.code, body.retryable]).to.deep.equal([422, 'request_too_large', false]);
  });
});
