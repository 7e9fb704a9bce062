import { expect } from 'chai';
import { admissionKey } from '../../../shared/messages/admissions.js';
import { patient, until } from '../../support/redis-server.js';
import { admissionMessages, ask, idIn, metric, ONE_WINDOW } from './admissions-under-test.js';
import { type Answer, ApiUnderTest } from './api-under-test.js';

/** Long enough for an append on a machine that has other work to do. */
const DEADLINE_MS = 250;

describe('api: admissions that no worker decides', () => {
  let api: ApiUnderTest;

  const start = async (settings: Readonly<Record<string, string>>): Promise<void> => {
    api = await (
      await ApiUnderTest.start({ ...ONE_WINDOW, ADMISSION_DEADLINE_MS: String(DEADLINE_MS), ...settings })
    ).connected();
  };
  afterEach(() => api.close());

  const admit = (more: object = {}): Promise<Answer> => api.post('/admissions', ask(more));
  const types = async (): Promise<string[]> => (await admissionMessages(api)).map(({ type }) => type);
  const undecided = (reason: string, answer: string): Promise<number> =>
    metric(api, `weir_undecided_total{reason="${reason}",answer="${answer}"}`);

  const expectUndecided = (answer: Answer, reason: string): void => {
    expect([answer.status, answer.body['code']]).to.deep.equal([503, 'undecided']);
    expect(answer.body).to.include({ retryable: true, reason });
    expect(answer.headers.get('retry-after')).to.equal('1');
  };

  it('has its metrics at 0 from the start', async () => {
    await start({});
    for (const reason of ['no_worker', 'store_unavailable', 'backlog_full']) {
      expect([await undecided(reason, 'allow'), await undecided(reason, 'refuse')]).to.deep.equal([0, 0]);
    }
    expect(await metric(api, 'weir_fail_open_tokens_total')).to.equal(0);
    expect(await metric(api, 'weir_fail_open_unreported')).to.equal(0);
    expect(await metric(api, 'dropped_requests_total{reason="undecided"}')).to.equal(0);
  });

  describe('FAIL_MODE=closed', () => {
    beforeEach(() => start({ FAIL_MODE: 'closed' }));

    it('answers 503 undecided, and gives up what cannot be asked for again', async () => {
      expectUndecided(await admit(), 'no_worker');
      await until(1000, 'the admission is abandoned', async () => (await types()).length === 2);
      const [asked, cancelled] = await admissionMessages(api);
      expect([asked!.type, cancelled!.type]).to.deep.equal(['admit', 'cancel']);
      expect(cancelled!.id).to.equal(`ab-${idIn(asked!)}`);
      expect(cancelled!.data).to.deep.equal({ admission: idIn(asked!), abandoned: true });
      expect(cancelled!.reply).to.equal(undefined);
      expect(await undecided('no_worker', 'refuse')).to.equal(1);
      expect(await metric(api, 'dropped_requests_total{reason="undecided"}')).to.equal(1);
    });

    it('leaves what has a request id to its retry, and gives up an evaluate', async () => {
      expectUndecided(await admit({ request_id: 'r' }), 'no_worker');
      expectUndecided(await api.post('/v1/evaluate', ask()), 'no_worker');
      await until(3000, 'it is given up', async () => (await types()).includes('cancel'));
      // Whatever else would be appended is there before this one.
      expectUndecided(await admit({ request_id: 's' }), 'no_worker');
      const messages = await admissionMessages(api);
      expect(messages.map(({ type, data }) => [type, data['keyed']])).to.deep.equal([
        ...[
          ['admit', true],
          ['evaluate', true],
          ['cancel', undefined],
          ['admit', true],
        ],
      ]);
    });
  });

  it('closed: answers 429 when the backlog is full, and appends nothing', async () => {
    await start({ FAIL_MODE: 'closed', BACKLOG_MAX: '1' });
    expectUndecided(await admit({ request_id: 'r' }), 'no_worker');
    const answer = await admit({ request_id: 's' });
    expect([answer.status, answer.body['code']]).to.deep.equal([429, 'backlog_full']);
    expect(answer.headers.get('retry-after')).to.equal('5');
    expect(await types()).to.deep.equal(['admit']);
  });

  describe('FAIL_MODE=open', () => {
    beforeEach(() =>
      start({ FAIL_MODE: 'open', FAIL_OPEN_TOKENS_MAX: '1000', REDIS_COMMAND_TIMEOUT_MS: '10000' }),
    );

    it('admits, says that it is no decision, and has it in the stream before it answers', async () => {
      const before = Date.now();
      const answer = await admit({ hold_seconds: 60 });
      const [asked, failed, ...others] = await admissionMessages(api);
      expect([answer.status, asked!.type, failed!.type, others.length]).to.deep.equal([
        ...[201, 'admit', 'failed_open', 0],
      ]);
      const { expires_at, ...rest } = answer.body;
      expect(rest).to.deep.equal({
        ...{ admission_id: idIn(failed!), status: 'held', decision: 'ALLOW' },
        ...{ pipeline: 'ranking', priority: 'P1', estimated_tokens: 100, granted_tokens: 100 },
        ...{ attempts: 1, remaining: {}, context: { degraded: true, reason: 'no_worker' } },
      });
      expect(Date.parse(String(expires_at))).to.be.within(before + 60_000, Date.now() + 60_000);
      expect([admissionKey(idIn(failed!)), idIn(failed!)[16]]).to.deep.equal([
        ...[admissionKey(idIn(asked!)), 'o'],
      ]);
      expect(failed!.id).to.equal(`fo-${idIn(failed!)}`);
      expect([failed!.tenant, failed!.subject, failed!.reply]).to.deep.equal([
        'default',
        'default',
        undefined,
      ]);
      const own = { admission: idIn(failed!), asked: idIn(asked!), settled: false };
      expect(failed!.data).to.deep.equal({ ...asked!.data, ...own });
      expect(await undecided('no_worker', 'allow')).to.equal(1);
      expect(await metric(api, 'weir_fail_open_tokens_total')).to.equal(100);
    });

    it('waits for the record, but not for ever', async () => {
      const admitted = (): Promise<boolean> => types().then((each) => each.includes('admit'));
      const asked = admit();
      await until(DEADLINE_MS, 'the request is in the stream', admitted);
      const pausedAt = performance.now();
      await api.redis.client('PAUSE', DEADLINE_MS * 1.5, 'WRITE');
      expect((await asked).status).to.equal(201);
      expect(performance.now() - pausedAt).to.be.within(DEADLINE_MS * 1.5 - 1, patient(DEADLINE_MS * 3));
      expect(await types()).to.deep.equal(['admit', 'failed_open']);

      const other = admit();
      await until(DEADLINE_MS, 'the request is in the stream', async () => (await types()).length === 3);
      await api.redis.client('PAUSE', 60_000, 'WRITE');
      try {
        const askedAt = performance.now();
        expect((await other).status).to.equal(201);
        expect(performance.now() - askedAt).to.be.below(patient(DEADLINE_MS * 8));
        expect(await types()).to.deep.equal(['admit', 'failed_open', 'admit']);
      } finally {
        await api.redis.client('UNPAUSE');
      }
      await until(5000, 'it is recorded', async () => (await types()).length === 4);
      const failed = (await admissionMessages(api)).at(-1)!;
      expect([failed.type, idIn(failed)]).to.deep.equal(['failed_open', (await other).body['admission_id']]);
    });

    it('answers evaluate with ALLOW, settled at once', async () => {
      const answer = await api.post('/v1/evaluate', ask());
      expect([answer.status, answer.body]).to.deep.equal([
        200,
        { decision: 'ALLOW', context: { granted_tokens: 100, degraded: true, reason: 'no_worker' } },
      ]);
      const [asked, failed] = await admissionMessages(api);
      expect([asked!.type, failed!.type, failed!.data['settled']]).to.deep.equal([
        ...['evaluate', 'failed_open', true],
      ]);
      // The workers must know it again when they hear how it was answered.
      expect([asked!.data['keyed'], failed!.data['keyed']]).to.deep.equal([true, true]);
      expect(admissionKey(idIn(failed!))).to.equal(admissionKey(idIn(asked!)));
    });

    it('never gives more than the allowance, all requests and tenants together', async () => {
      const asked = Array.from({ length: 30 }, (_, i) =>
        api.post(i % 2 === 0 ? '/admissions' : '/v1/evaluate', ask({ estimated_tokens: 90 }), {
          'x-tenant-id': `tenant-${i % 5}`,
        }),
      );
      const answers = await Promise.all(asked);
      const given = answers.filter(({ status }) => status !== 503);
      expect(given.length).to.equal(11);
      const refused = answers.filter(({ status }) => status === 503);
      for (const answer of refused) expectUndecided(answer, 'no_worker');
      expect((await types()).filter((type) => type === 'failed_open').length).to.equal(11);
      expect(await metric(api, 'weir_fail_open_tokens_total')).to.equal(990);
      expect(await undecided('no_worker', 'refuse')).to.equal(19);
      // What is left is still given.
      expect((await admit({ estimated_tokens: 10 })).status).to.equal(201);
      expectUndecided(await admit({ estimated_tokens: 1 }), 'no_worker');
    });

    it('gives up what was refused beyond the allowance', async () => {
      expectUndecided(await admit({ estimated_tokens: 1001 }), 'no_worker');
      await until(1000, 'the admission is abandoned', async () => (await types()).length === 2);
      expect(await types()).to.deep.equal(['admit', 'cancel']);
    });

    for (const [what, body] of [
      ['request id', { request_id: 'r' }],
      ['payload', { payload: { a: 1 } }],
    ] as const) {
      it(`gives identical concurrent retries (${what}) one admission, counted once`, async () => {
        const answers = await Promise.all(
          Array.from({ length: 20 }, () => admit({ ...body, estimated_tokens: 600 })),
        );
        expect(new Set(answers.map((answer) => answer.body['admission_id'])).size).to.equal(1);
        expect(answers.map(({ status }) => status).sort()).to.deep.equal([...Array(19).fill(200), 201]);
        expect(answers.map((answer) => answer.body['attempts']).length).to.equal(20);
        expect(await metric(api, 'weir_fail_open_tokens_total')).to.equal(600);
        const failed = (await admissionMessages(api)).filter(({ type }) => type === 'failed_open');
        const [given] = answers;
        expect(failed.map(({ id, data }) => [id, data['admission']])).to.deep.equal([
          [`fo-${given!.body['admission_id']}${failed[0]!.data['body']}`, given!.body['admission_id']],
        ]);
        const again = await admit({ ...body, estimated_tokens: 600 });
        expect([again.status, again.body['attempts']]).to.deep.equal([200, 21]);
      });
    }

    it('asks again with the id that was given', async () => {
      const first = await admit({ request_id: 'r' });
      await admit({ request_id: 'r' });
      const admits = (await admissionMessages(api)).filter(({ type }) => type === 'admit');
      expect(admits.map(idIn).slice(1)).to.deep.equal([first.body['admission_id']]);
      expect(new Set(admits.map(({ id }) => id)).size).to.equal(2);
    });

    it('answers 422 to the same request id with another body', async () => {
      await admit({ request_id: 'r' });
      const answer = await admit({ request_id: 'r', estimated_tokens: 101 });
      expect([answer.status, answer.body['code']]).to.deep.equal([422, 'idempotency_conflict']);
      expect(await metric(api, 'weir_fail_open_tokens_total')).to.equal(100);
    });

    it('keeps tenants apart, and evaluate from admissions', async () => {
      const one = await admit({ request_id: 'r' });
      const other = await api.post('/admissions', ask({ request_id: 'r' }), { 'x-tenant-id': 'acme' });
      const evaluate = await api.post('/v1/evaluate', ask({ request_id: 'r' }));
      expect([one.status, other.status, evaluate.status]).to.deep.equal([201, 201, 200]);
      expect(await metric(api, 'weir_fail_open_tokens_total')).to.equal(300);
    });
  });

  it('open: admits also when the backlog is full, and records it beyond the bound', async () => {
    await start({ FAIL_MODE: 'open', BACKLOG_MAX: '2', FAIL_OPEN_TOKENS_MAX: '1000' });
    expect((await admit()).body['context']).to.deep.equal({ degraded: true, reason: 'no_worker' });
    const answer = await admit();
    expect([answer.status, answer.body['context']]).to.deep.equal([
      ...[201, { degraded: true, reason: 'backlog_full' }],
    ]);
    expect(await types()).to.deep.equal(['admit', 'failed_open', 'failed_open']);
    expect(await metric(api, 'weir_fail_open_unreported')).to.equal(0);
    expect(await undecided('backlog_full', 'allow')).to.equal(1);
  });

  it('open: remembers what it cannot record at all, up to a bound, and records it in order later', async () => {
    const bounds = { BACKLOG_MAX: '1', FAIL_OPEN_REPORTS_MAX: '2', FAIL_OPEN_TOKENS_MAX: '1000' };
    await start({ FAIL_MODE: 'open', ...bounds });
    const answers: Answer[] = [];
    for (let i = 0; i < 5; i++) answers.push(await admit());
    expect(answers.map(({ status }) => status)).to.deep.equal([201, 201, 201, 503, 503]);
    expectUndecided(answers[3]!, 'backlog_full');
    expect(await metric(api, 'weir_fail_open_unreported')).to.equal(2);
    const recorded = await types();
    // The workers fold everything.
    const { keys } = api.slots.ofTenant('default');
    await api.redis.hset(keys.head, 'folded', (await api.redis.get(keys.appended))!);
    await until(2000, 'it is recorded', async () => (await metric(api, 'weir_fail_open_unreported')) === 0);
    const reported = (await admissionMessages(api)).slice(recorded.length).map(idIn);
    expect(reported).to.deep.equal(answers.slice(1, 3).map((answer) => answer.body['admission_id']));
  });
});
