import { request } from 'node:http';
import { expect } from 'chai';
import { admissionMessages, ask } from './admissions-under-test.js';
import { type Answer, ApiUnderTest, flag } from './api-under-test.js';

describe('api: bodies of admissions', () => {
  let api: ApiUnderTest;

  before(async () => {
    // No worker decides: what is valid is answered 503.
    api = await (
      await ApiUnderTest.start({ FAIL_MODE: 'closed', ADMISSION_DEADLINE_MS: '20', REPLY_DEADLINE_MS: '20' })
    ).connected();
  });
  afterEach(() => api.redis.del(api.slots.all.map((slot) => slot.keys.stream)));
  after(() => api.close());

  const expectDefects = async (
    answer: Answer,
    defects: readonly (readonly [string, string])[],
  ): Promise<void> => {
    expect([answer.status, answer.body['code']]).to.deep.equal([422, 'invalid_request']);
    expect(answer.body['errors']).to.deep.equal(defects.map(([path, message]) => ({ path, message })));
    expect(await admissionMessages(api)).to.deep.equal([]);
  };

  const BAD_TEXT = 'must not contain U+0000 or lone surrogates';
  const TOKENS = 'must be a whole number from 1 to 9007199254740991';
  const both: readonly (readonly [what: string, body: unknown, path: string, message: string])[] = [
    ['no pipeline', { ...ask(), pipeline: undefined }, 'pipeline', 'is required'],
    ['an empty pipeline', ask({ pipeline: '' }), 'pipeline', 'must not be empty'],
    [
      'a pipeline of 65 characters',
      ask({ pipeline: 'p'.repeat(65) }),
      'pipeline',
      'must have at most 64 characters',
    ],
    ['U+0000 in the pipeline', ask({ pipeline: 'a\0' }), 'pipeline', BAD_TEXT],
    [
      'a lone surrogate in the pipeline',
      '{"pipeline":"\\ud800","priority":"P0","estimated_tokens":1}',
      'pipeline',
      BAD_TEXT,
    ],
    ['a pipeline that is no text', ask({ pipeline: 7 }), 'pipeline', 'must be a string'],
    ['no priority', { ...ask(), priority: undefined }, 'priority', 'must be one of P0, P1, P2'],
    ['an unknown priority', ask({ priority: 'p0' }), 'priority', 'must be one of P0, P1, P2'],
    ['no estimate', { ...ask(), estimated_tokens: undefined }, 'estimated_tokens', 'is required'],
    ['an estimate of 0', ask({ estimated_tokens: 0 }), 'estimated_tokens', TOKENS],
    ['a negative estimate', ask({ estimated_tokens: -1 }), 'estimated_tokens', TOKENS],
    ['a fraction of a token', ask({ estimated_tokens: 1.5 }), 'estimated_tokens', TOKENS],
    ['an estimate that is not exact', ask({ estimated_tokens: 2 ** 53 }), 'estimated_tokens', TOKENS],
    ['an estimate as text', ask({ estimated_tokens: '100' }), 'estimated_tokens', 'must be a number'],
    [
      'an infinite estimate',
      '{"pipeline":"p","priority":"P0","estimated_tokens":1e999}',
      'estimated_tokens',
      'must be a number',
    ],
    ['an empty request id', ask({ request_id: '' }), 'request_id', 'must not be empty'],
    [
      'a request id of 129 characters',
      ask({ request_id: 'r'.repeat(129) }),
      'request_id',
      'must have at most 128 characters',
    ],
    ['U+0000 in the request id', ask({ request_id: '\0' }), 'request_id', BAD_TEXT],
    ['a request id that is null', ask({ request_id: null }), 'request_id', 'must be a string'],
    ['an unknown field', ask({ model: 'm' }), 'model', 'is not known'],
    [
      'a field __proto__',
      '{"pipeline":"p","priority":"P0","estimated_tokens":1,"__proto__":{}}',
      '__proto__',
      'is not known',
    ],
    ['an array', [], '', 'must be an object'],
    ['null', null, '', 'must be an object'],
  ];
  for (const path of ['/admissions', '/v1/evaluate']) {
    describe(`POST ${path}`, () => {
      for (const [what, body, where, message] of both) {
        it(`answers 422 to ${what}`, async () => {
          await expectDefects(await api.post(path, body), [[where, message]]);
        });
      }

      it('lists every defect', async () => {
        await expectDefects(await api.post(path, { pipeline: '', priority: 'P9', extra: 1 }), [
          ['pipeline', 'must not be empty'],
          ['priority', 'must be one of P0, P1, P2'],
          ['estimated_tokens', 'is required'],
          ['extra', 'is not known'],
        ]);
      });

      it('answers 400, 413, 415 and 405 as every path does', async () => {
        const statusOf = async (call: Promise<Answer>): Promise<unknown> => {
          const { status, body } = await call;
          return [status, body['code']];
        };
        expect(await statusOf(api.post(path, '{'))).to.deep.equal([400, 'malformed_json']);
        expect(await statusOf(api.post(path, 'x', { 'content-type': 'text/plain' }))).to.deep.equal([
          ...[415, 'unsupported_media_type'],
        ]);
        expect(await statusOf(api.post(path, `"${'x'.repeat(1024 * 1024)}"`))).to.deep.equal([
          413,
          'body_too_large',
        ]);
        expect(await statusOf(api.request('DELETE', path))).to.deep.equal([405, 'method_not_allowed']);
      });

      it('answers 422 to a tenant that cannot be one', async () => {
        const answer = await api.post(path, ask(), { 'x-tenant-id': 'a b' });
        expect([answer.status, answer.body['code']]).to.deep.equal([422, 'invalid_request']);
        expect((answer.body['errors'] as { path: string }[])[0]!.path).to.equal('X-Tenant-Id');
      });
    });
  }

  const HOLD = 'must be a whole number from 1 to 86400';
  for (const seconds of [0, 86_401, 1.5]) {
    it(`answers 422 to a hold of ${seconds} seconds`, async () => {
      await expectDefects(await api.post('/admissions', ask({ hold_seconds: seconds })), [
        ['hold_seconds', HOLD],
      ]);
    });
  }

  it('takes hold_seconds for an admission only', async () => {
    await expectDefects(await api.post('/v1/evaluate', ask({ payload: 1, hold_seconds: 5 })), [
      ['hold_seconds', 'is not known'],
    ]);
  });

  it('takes the largest and longest of everything, and any payload', async () => {
    const largest = {
      pipeline: '😀'.repeat(32),
      estimated_tokens: Number.MAX_SAFE_INTEGER,
      request_id: 'r'.repeat(128),
      hold_seconds: 86_400,
    };
    const deep = `{"pipeline":"p","priority":"P2","estimated_tokens":1,"payload":${'['.repeat(63)}${']'.repeat(63)}}`;
    const hostile =
      '{"pipeline":"p","priority":"P2","estimated_tokens":1,"payload":{"__proto__":"\\u0000\\ud800"}}';
    for (const body of [ask(largest), deep, hostile, ask({ payload: null })]) {
      expect((await api.post('/admissions', body)).body['code']).to.equal('undecided');
    }
  });

  const INEXACT = 'must be sent as a string: a number beyond ±9007199254740991 is not exact';
  for (const [payload, path] of [
    ['{"ids":[1,{"message_id":1234567890123456781}]}', 'payload.ids.1.message_id'],
    ['1e400', 'payload'],
  ]) {
    for (const id of ['', ',"request_id":"r"']) {
      it(`answers 422 to a payload ${payload} ${id}, which another may equal once it is read`, async () => {
        const body = `{"pipeline":"p","priority":"P2","estimated_tokens":1${id},"payload":${payload}}`;
        await expectDefects(await api.post('/admissions', body), [[path!, INEXACT]]);
      });
    }
  }

  it('ignores what a query says, as every POST does', async () => {
    const path = '/admissions/0123456789abcdefa1234567';
    expect((await api.post('/admissions?x=1', ask())).body['code']).to.equal('undecided');
    expect((await api.post('/v1/evaluate?x=1', ask())).body['code']).to.equal('undecided');
    expect((await api.post(`${path}/settle?x=1`, { actual_tokens: 1 })).status).to.equal(202);
    expect((await api.post(`${path}/cancel?x=1`)).status).to.equal(202);
    expect((await api.post('/event?x=1', flag('u'))).status).to.equal(202);
  });

  it('cancels with a body of no bytes in chunks', async () => {
    const status = await new Promise((resolve, reject) => {
      const headers = { 'transfer-encoding': 'chunked' };
      const url = `${api.url}/admissions/0123456789abcdefa1234567/cancel`;
      const call = request(url, { method: 'POST', headers }, (response) => {
        response.resume();
        resolve(response.statusCode);
      });
      call.on('error', reject);
      call.end();
    });
    expect(status).to.equal(202);
  });

  const ACTUAL = 'must be a whole number from 0 to 1000000000000';
  const settles: readonly (readonly [what: string, body: unknown, path: string, message: string])[] = [
    ['no tokens', {}, 'actual_tokens', 'is required'],
    ['negative tokens', { actual_tokens: -1 }, 'actual_tokens', ACTUAL],
    ['more than 1e12 tokens', { actual_tokens: 1e12 + 1 }, 'actual_tokens', ACTUAL],
    ['a fraction of a token', { actual_tokens: 0.5 }, 'actual_tokens', ACTUAL],
    ['tokens as text', { actual_tokens: '5' }, 'actual_tokens', 'must be a number'],
    ['an unknown field', { actual_tokens: 5, x: 1 }, 'x', 'is not known'],
  ];
  for (const [what, body, path, message] of settles) {
    it(`answers 422 to a settle with ${what}`, async () => {
      await expectDefects(await api.post('/admissions/0123456789abcdefa1234567/settle', body), [
        [path, message],
      ]);
    });
  }

  it('settles from 0 to 1e12 tokens', async () => {
    for (const actual_tokens of [0, 1e12]) {
      const answer = await api.post('/admissions/0123456789abcdefa1234567/settle', { actual_tokens });
      expect(answer.status).to.equal(202);
    }
  });

  it('answers 422 to a cancel that says anything', async () => {
    await expectDefects(await api.post('/admissions/0123456789abcdefa1234567/cancel', { reason: 'r' }), [
      ['reason', 'is not known'],
    ]);
  });
});
