import { expect } from 'chai';
import { undecidedId } from '../../../api/admissions/admission-key.js';
import { ADMISSION_ID, admissionKey } from '../../../shared/messages/admissions.js';
import { admission, admissionMessages, answered, ask, idIn, playWorker } from './admissions-under-test.js';
import { type Answer, ApiUnderTest } from './api-under-test.js';

const REMAINING = [
  ['global', 849_900],
  ['ranking', 284_900],
] as const;

describe('api: admissions', () => {
  let api: ApiUnderTest;

  before(async () => {
    api = await (
      await ApiUnderTest.start({ ADMISSION_DEADLINE_MS: '2000', REPLY_DEADLINE_MS: '300' })
    ).connected();
  });
  afterEach(() => api.redis.del(api.slots.all.map((slot) => slot.keys.stream)));
  after(() => api.close());

  const decided = (
    reply: (id: string) => object,
    body = ask(),
    headers: Readonly<Record<string, string>> = {},
  ): Promise<Answer> =>
    answered(api, api.post('/admissions', body, headers), (message) => reply(idIn(message)));

  const expectRefused = (answer: Answer, status: number, code: string, members: object): void => {
    expect([answer.status, answer.body['code']]).to.deep.equal([status, code]);
    expect(answer.body).to.deep.include(members);
    expect(answer.headers.get('content-type')).to.match(/problem\+json/);
  };

  describe('POST /admissions', () => {
    it('answers 201 with the admission and what remains', async () => {
      let id = '';
      const answer = await decided((asked) => {
        id = asked;
        return { kind: 'admitted', fresh: true, admission: admission(asked), remaining: REMAINING };
      });
      expect(answer.status).to.equal(201);
      expect(id).to.match(ADMISSION_ID);
      expect(answer.body).to.deep.equal({
        ...{ admission_id: id, status: 'held', decision: 'ALLOW', pipeline: 'ranking', priority: 'P1' },
        ...{ estimated_tokens: 100, granted_tokens: 100, charged_tokens: null, overrun_tokens: 0 },
        ...{ levels: ['global', 'ranking'], attempts: 1, ended_at: null },
        window_started_at: '2023-11-14T22:13:30.000Z',
        created_at: '2023-11-14T22:13:32.345Z',
        expires_at: '2023-11-14T22:14:02.345Z',
        remaining: { global: 849_900, ranking: 284_900 },
      });
    });

    it('sends the request to its tenant', async () => {
      const body = ask({ priority: 'P0', hold_seconds: 5, request_id: 'r', payload: { any: ['thing'] } });
      const call = api.post('/admissions', body, { 'x-tenant-id': 'acme', 'x-request-id': 'trace-1' });
      const message = await playWorker(api, (sent) => ({
        ...{ kind: 'admitted', fresh: true, remaining: REMAINING },
        admission: admission(idIn(sent)),
      }));
      expect((await call).status).to.equal(201);
      const { id, reply, ...rest } = message;
      expect(id).to.match(/^[A-Za-z0-9_-]{21}$/);
      expect(reply).to.be.a('string');
      expect(rest).to.deep.equal({
        ...{ type: 'admit', tenant: 'acme', subject: 'acme', request: 'trace-1' },
        data: {
          ...{ pipeline: 'ranking', priority: 'P0', estimated: 100, keyed: true, holdMs: 5000 },
          ...{ admission: idIn(message), body: message.data['body'] },
        },
      });
      const [index] = await Promise.all([api.slots.ofTenant('acme').partition.index]);
      expect(await api.redis.xlen(api.slots.ofTopic('admissions')[index]!.keys.stream)).to.equal(1);
    });

    it('answers 200 to an identical retry, with the admission as it is now', async () => {
      const answer = await decided((id) => ({
        ...{ kind: 'admitted', fresh: false, remaining: REMAINING },
        admission: admission('0123456789abcdefa1234567', {
          ...{ status: 'settled', attempts: 3, charged: 40, endedAt: 1_700_000_013_000 },
          ids: ['0123456789abcdefa1234567', id.replace(/.$/, id.endsWith('x') ? 'y' : 'x')],
        }),
      }));
      expect(answer.status).to.equal(200);
      expect(answer.body).to.include({
        ...{ admission_id: '0123456789abcdefa1234567', status: 'settled', attempts: 3, charged_tokens: 40 },
        ended_at: '2023-11-14T22:13:33.000Z',
      });
    });

    it('answers 429 with a Retry-After when the budget is used up', async () => {
      const by = { level: 'ranking', available: 12, resetsAt: 1_700_000_040_000 };
      const answer = await decided(() => ({ kind: 'refused', by, retryAfterMs: 4001, attempts: 2 }));
      expectRefused(answer, 429, 'budget_exhausted', {
        ...{ retryable: true, level: 'ranking', available: 12, attempts: 2 },
        resets_at: '2023-11-14T22:14:00.000Z',
      });
      expect(answer.headers.get('retry-after')).to.equal('5');
    });

    it('never says to retry at once', async () => {
      const by = { level: 'global', available: 0, resetsAt: 1_700_000_040_000 };
      const answer = await decided(() => ({ kind: 'refused', by, retryAfterMs: 0, attempts: 1 }));
      expect(answer.headers.get('retry-after')).to.equal('1');
    });

    it('answers 422 to a request that can never fit', async () => {
      const answer = await decided(() => ({ kind: 'too_large', level: 'global', tokensMax: 99 }));
      expectRefused(answer, 422, 'request_too_large', { retryable: false, level: 'global', tokens_max: 99 });
      expect(answer.headers.has('retry-after')).to.equal(false);
    });

    it('answers 422 to a request id with another body', async () => {
      const answer = await decided(() => ({ kind: 'conflict' }), ask({ request_id: 'r' }));
      expectRefused(answer, 422, 'idempotency_conflict', { retryable: false });
    });

    it('answers 409 to a retry of an admission that is over', async () => {
      const answer = await decided((id) => ({
        kind: 'over',
        admission: admission(id, { status: 'expired', expiry: 'release', charged: 0, attempts: 2 }),
      }));
      expectRefused(answer, 409, 'admission_over', { retryable: false });
      expect(answer.body['admission']).to.deep.include({ status: 'expired', expiry: 'release', attempts: 2 });
      expect(answer.body['admission_id']).to.match(ADMISSION_ID);
    });

    it('answers 400 to an unknown pipeline, with the known ones', async () => {
      const answer = await decided(() => ({
        kind: 'unknown_pipeline',
        pipelines: ['monitoring', 'ranking'],
      }));
      expectRefused(answer, 400, 'unknown_pipeline', { pipelines: ['monitoring', 'ranking'] });
    });

    it('answers 503 where what is stored as budgets is broken, and gives nothing', async () => {
      const answer = await decided(() => ({ kind: 'unsound_budgets' }));
      expectRefused(answer, 503, 'undecided', { retryable: true, reason: 'unsound_budgets' });
    });

    it('answers 503 to what a newer worker says and it does not know', async () => {
      const answer = await decided(() => ({ kind: 'brand_new' }));
      expectRefused(answer, 503, 'undecided', { retryable: true, reason: 'newer_worker' });
    });

    it('shows a level of any name', async () => {
      const answer = await decided((id) => ({
        ...{ kind: 'admitted', fresh: true, admission: admission(id) },
        remaining: [['__proto__', 5]],
      }));
      expect(Object.entries(answer.body['remaining'] as object)).to.deep.equal([['__proto__', 5]]);
    });
  });

  describe('POST /v1/evaluate', () => {
    const evaluated = (reply: object): Promise<Answer> =>
      answered(api, api.post('/v1/evaluate', ask({ request_id: 'r' })), (message) => {
        expect(message.type).to.equal('evaluate');
        return reply;
      });

    it('answers 200 with the decision and its context', async () => {
      const answer = await evaluated({
        kind: 'evaluated',
        decision: 'ALLOW_DEGRADED',
        granted: 50,
        remaining: REMAINING,
      });
      expect(answer.status).to.equal(200);
      expect(answer.body).to.deep.equal({
        decision: 'ALLOW_DEGRADED',
        context: { granted_tokens: 50, remaining: { global: 849_900, ranking: 284_900 } },
      });
    });

    it('rejects with 200 too, and says why: the budget', async () => {
      const by = { level: 'ranking', available: 3, resetsAt: 1_700_000_040_000 };
      const answer = await evaluated({
        ...{ kind: 'evaluated', decision: 'REJECT', granted: 0, remaining: [['ranking', 3]] },
        refused: { by, retryAfterMs: 4000, attempts: 1 },
      });
      expect([answer.status, answer.body]).to.deep.equal([
        200,
        {
          decision: 'REJECT',
          context: {
            ...{ granted_tokens: 0, remaining: { ranking: 3 }, reason: 'budget_exhausted', retryable: true },
            ...{ level: 'ranking', available: 3, resets_at: '2023-11-14T22:14:00.000Z', attempts: 1 },
          },
        },
      ]);
    });

    it('rejects with 200 too, and says why: the size', async () => {
      const answer = await evaluated({
        ...{ kind: 'evaluated', decision: 'REJECT', granted: 0, remaining: [] },
        tooLarge: { level: 'global', tokensMax: 99 },
      });
      expect([answer.status, answer.body]).to.deep.equal([
        200,
        {
          decision: 'REJECT',
          context: {
            ...{ granted_tokens: 0, remaining: {}, reason: 'request_too_large', retryable: false },
            ...{ level: 'global', tokens_max: 99 },
          },
        },
      ]);
    });

    it('answers 503 to broken budgets, and to what it does not know', async () => {
      expectRefused(
        await evaluated({ kind: 'unsound_budgets' }),
        ...([503, 'undecided', { reason: 'unsound_budgets' }] as const),
      );
      await api.redis.del(api.slots.all.map((slot) => slot.keys.stream));
      expectRefused(
        await evaluated({ kind: 'brand_new' }),
        ...([503, 'undecided', { reason: 'newer_worker' }] as const),
      );
    });

    it('answers 400 to an unknown pipeline and 422 to a conflict', async () => {
      expectRefused(
        await evaluated({ kind: 'unknown_pipeline', pipelines: ['ranking'] }),
        ...([400, 'unknown_pipeline', { pipelines: ['ranking'] }] as const),
      );
      await api.redis.del(api.slots.all.map((slot) => slot.keys.stream));
      expectRefused(
        await evaluated({ kind: 'conflict' }),
        ...([422, 'idempotency_conflict', { retryable: false }] as const),
      );
    });
  });

  const ID = '0123456789abcdefa1234567';
  const UNREPORTED = undecidedId('0123456789abcdef', Date.now());

  for (const [verb, body, type, data] of [
    ['settle', { actual_tokens: 70 }, 'settle', { actual: 70 }],
    ['cancel', undefined, 'cancel', {}],
  ] as const) {
    describe(`POST /admissions/:id/${verb}`, () => {
      const end = (id = ID): Promise<Answer> =>
        api.post(`/admissions/${id}/${verb}`, body, { 'x-tenant-id': 'acme' });

      it('answers 200 with the admission once it has ended', async () => {
        const call = end();
        const message = await playWorker(api, () => ({
          kind: 'ended',
          admission: admission(ID, { status: 'settled', charged: 70, endedAt: 1_700_000_013_000 }),
        }));
        const answer = await call;
        expect(answer.status).to.equal(200);
        expect(answer.body).to.include({ admission_id: ID, status: 'settled', charged_tokens: 70 });
        expect([message.type, message.tenant, message.subject]).to.deep.equal([type, 'acme', 'acme']);
        expect(message.data).to.deep.equal({ admission: ID, ...data });
      });

      it('answers 503 to what a newer worker says and it does not know', async () => {
        const answer = await answered(api, end(), () => ({ kind: 'brand_new' }));
        expectRefused(answer, 503, 'undecided', { retryable: true, reason: 'newer_worker' });
      });

      it('answers 422 where sums would no longer be exact', async () => {
        const answer = await answered(api, end(), () => ({ kind: 'no_room', level: 'global' }));
        expectRefused(answer, 422, 'invalid_request', {
          detail: 'actual_tokens would make what is used at global in this window more than 2^53 - 1.',
        });
      });

      it('answers 409 when it has ended otherwise', async () => {
        const answer = await answered(api, end(), () => ({
          kind: 'over',
          admission: admission(ID, { status: 'cancelled', charged: 0 }),
        }));
        expectRefused(answer, 409, 'admission_over', { retryable: false, admission_id: ID });
        expect(answer.body['admission']).to.include({ status: 'cancelled', charged_tokens: 0 });
      });

      it('answers 404 where there is none', async () => {
        expectRefused(
          await answered(api, end(), () => ({ kind: 'not_found' })),
          ...([404, 'admission_not_found', { retryable: false }] as const),
        );
      });

      it('answers 503 where one may still be reported', async () => {
        const answer = await answered(api, end(UNREPORTED), () => ({ kind: 'not_found' }));
        expectRefused(answer, 503, 'undecided', { retryable: true, reason: 'unreported' });
        expect(answer.headers.get('retry-after')).to.equal('1');
      });

      it('answers 404 to what cannot be an id, and asks nobody', async () => {
        for (const id of ['x', `${ID}0`, ID.replace('a1', 'b1'), '%00'.repeat(24), '__proto__']) {
          expectRefused(await end(id), 404, 'admission_not_found', {});
        }
        expect(await admissionMessages(api)).to.deep.equal([]);
      });

      it('answers 202 when no worker answers in time; it is in the stream', async () => {
        const answer = await end();
        expect([answer.status, answer.body]).to.deep.equal([202, { status: 'accepted', admission_id: ID }]);
        expect((await admissionMessages(api)).map((message) => message.type)).to.deep.equal([type]);
      });
    });
  }

  it('takes an empty object as the body of a cancel', async () => {
    expect((await api.post(`/admissions/${ID}/cancel`, {})).status).to.equal(202);
  });

  describe('the dedupe key', () => {
    const keyOf = async (body: object, path = '/admissions'): Promise<string> => {
      const call = api.post(path, body);
      const message = await playWorker(api, () => ({ kind: 'conflict' }));
      await call;
      await api.redis.del(api.slots.all.map((slot) => slot.keys.stream));
      return admissionKey(idIn(message));
    };

    it('is the same for an identical retry, and another for everything else', async () => {
      const one = await keyOf(ask({ request_id: 'r' }));
      expect(await keyOf(ask({ request_id: 'r', estimated_tokens: 1 }))).to.equal(one);
      expect(await keyOf(ask({ request_id: 'r' }), '/v1/evaluate')).not.to.equal(one);
      const payload = await keyOf(ask({ payload: { a: 1, b: 2 } }));
      expect(await keyOf(ask({ payload: { b: 2, a: 1 } }))).to.equal(payload);
      expect(await keyOf(ask({ payload: { b: 2, a: 2 } }))).not.to.equal(payload);
      expect(await keyOf(ask())).not.to.equal(await keyOf(ask()));
    });
  });
});
