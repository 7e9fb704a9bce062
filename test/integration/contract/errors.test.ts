import { request } from 'node:http';
import { expect } from 'chai';
import type { Answer } from '../../support/http-client.js';
import { NO_TRIPWIRE, WeirFixture } from '../../support/weir-fixture.js';
import { HOSTILE_BODIES, MALFORMED_BODIES } from './hostile-bodies.js';
import { flag, People, purchase } from './people.js';

interface Problem {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail: string;
  readonly code: string;
  readonly request_id: string;
  readonly errors?: readonly { readonly path: string; readonly message: string }[];
}

describe('contract: errors', () => {
  let weir: WeirFixture;
  let untouched: Readonly<Record<string, unknown>>;
  before(async () => {
    weir = await WeirFixture.start({ settings: NO_TRIPWIRE });
    const people = new People(weir.http);
    await people.restrictByFlags('somebody');
    untouched = await weir.settledContents();
  });
  after(() => weir.close());
  afterEach(async () => {
    expect(await weir.contents(), 'nothing was changed').to.deep.equal(untouched);
  });

  function expectProblem(answer: Answer<Problem>, status: number, code: string, what = code): void {
    expect([what, answer.status, answer.body?.code]).to.deep.equal([what, status, code]);
    expect(answer.headers.get('content-type')).to.equal('application/problem+json');
    const { type, title, detail, request_id, status: inBody } = answer.body;
    for (const text of [type, title, detail, request_id]) expect(text).to.be.a('string').that.is.not.empty;
    expect(inBody).to.equal(status);
    expect(request_id).to.equal(answer.headers.get('x-request-id'));
    expect(code).to.match(/^[a-z]+(_[a-z]+)*$/);
    expect(answer.text).not.to.match(/node_modules|\bat .*:\d+:\d+|\.(js|ts|lua)\b|Error:/);
  }

  /** Every path that reads a body. */
  const takesBody: readonly (readonly [method: string, path: string])[] = [
    ['POST', '/event'],
    ['POST', '/events'],
    ['PUT', '/users/somebody/overrides/message'],
    ['PUT', '/rules/scam_message_rule/mode'],
    ['PUT', '/rules/scam_message_rule/tripwire'],
    ['POST', '/rules/scam_message_rule/rearm'],
    ['POST', '/rules/scam_message_rule/rollback'],
  ];

  for (const [method, path] of takesBody) {
    it(`${method} ${path}: malformed JSON is 400, another content type 415, too large 413, hostile 422`, async () => {
      const send = (body: unknown, headers = {}) => weir.http.send<Problem>(method, path, body, headers);
      for (const [what, body] of MALFORMED_BODIES) {
        expectProblem(await send(body), 400, 'malformed_json', what);
      }
      for (const type of ['text/plain', 'application/xml', 'application/x-www-form-urlencoded', 'json']) {
        expectProblem(await send('{}', { 'content-type': type }), 415, 'unsupported_media_type', type);
      }
      expectProblem(await send('{}', { 'content-encoding': 'gzip' }), 415, 'unsupported_media_type');
      expectProblem(await send(`"${'x'.repeat(1024 * 1024)}"`), 413, 'body_too_large');
      for (const [what, body] of HOSTILE_BODIES) {
        const answer = await send(body);
        const unknownEvent = answer.body?.code === 'unknown_event';
        expectProblem(answer, 422, unknownEvent ? 'unknown_event' : 'invalid_request', what);
        const errors = answer.body.errors!;
        expect(errors, what).to.be.an('array').that.is.not.empty;
        for (const error of errors) {
          expect(error.path).to.be.a('string');
          expect(error.message).to.be.a('string').that.is.not.empty;
        }
        expect(answer.text.length).to.be.below(10_000);
      }
    });
  }

  it('POST /events refuses what is wrong inside an array as it does alone', async () => {
    for (const [what, body] of HOSTILE_BODIES) {
      const answer = await weir.http.post<Problem>('/events', `[${body}]`);
      expectProblem(answer, 422, 'invalid_request', what);
    }
  });

  it('an unknown event is 422 unknown_event and names those that are known', async () => {
    for (const name of [
      'purchase',
      'PURCHASE_MADE',
      '',
      '__proto__',
      'hasOwnProperty',
      'control',
      'override_put',
    ]) {
      const answer = await weir.http.post<Problem>('/event', { name, event_properties: { user_id: 'u' } });
      expectProblem(answer, 422, 'unknown_event', name);
      for (const known of [
        'scam_message_flagged',
        'credit_card_added',
        'purchase_made',
        'chargeback_occurred',
      ]) {
        expect(answer.text).to.include(known);
      }
    }
  });

  const places: readonly (readonly [path: string, method: string, target: string])[] = [
    ['/nothing', 'GET', '/nothing'],
    ['a path below another', 'POST', '/event/one'],
    ['a user without a part', 'GET', '/users/u'],
    ['an empty user', 'GET', '/users//restrictions'],
    ['another case', 'GET', '/CanMessage?user_id=u'],
    ['a traversal', 'GET', '/../etc/passwd'],
  ];
  for (const [what, method, path] of places) {
    it(`an unknown path (${what}) is 404 not_found`, async () => {
      expectProblem(await raw(method, path), 404, 'not_found');
    });
  }

  const wrongMethods: readonly (readonly [method: string, path: string, allowed: readonly string[]])[] = [
    ['GET', '/event', ['POST']],
    ['PUT', '/events', ['POST']],
    ['POST', '/canmessage', ['GET']],
    ['DELETE', '/canpurchase', ['GET']],
    ['POST', '/users/u/restrictions', ['GET']],
    ['GET', '/users/u/overrides/message', ['PUT', 'DELETE']],
    ['POST', '/rules', ['GET']],
    ['GET', '/rules/scam_message_rule/mode', ['PUT']],
    ['PATCH', '/health', ['GET']],
    ['POST', '/ready', ['GET']],
    ['POST', '/metrics', ['GET']],
  ];
  for (const [method, path, allowed] of wrongMethods) {
    it(`${method} ${path} is 405 and Allow names ${allowed.join(' and ')}`, async () => {
      const answer = await weir.http.send<Problem>(method, path);
      expectProblem(answer, 405, 'method_not_allowed');
      expect(answer.headers.get('allow')!.split(', ')).to.include.members([...allowed]);
      expect(answer.headers.get('allow')!.split(', ')).not.to.include(method);
    });
  }

  it('a query parameter given twice is 422, wherever it is', async () => {
    for (const path of [
      '/canmessage?user_id=a&user_id=b',
      '/canpurchase?user_id=a&user%5Fid=a',
      '/dead-letters?topic=events&topic=events',
    ]) {
      expectProblem(await weir.http.get(path), 422, 'invalid_request', path);
    }
  });

  it('ids in paths and queries follow the same rules as in bodies', async () => {
    for (const id of ['%00', 'a%00b', 'u'.repeat(129), '%ED%A0%80', '%', '%zz']) {
      for (const path of [`/canmessage?user_id=${id}`, `/users/${id}/restrictions`]) {
        expectProblem(await raw('GET', path), 422, 'invalid_request', path);
      }
    }
  });

  it('X-Request-Id is echoed, or made', async () => {
    const given = { 'x-request-id': 'req-1234' };
    const echoed = await weir.http.send<Problem>('GET', '/nothing', undefined, given);
    expect([echoed.headers.get('x-request-id'), echoed.body.request_id]).to.deep.equal([
      'req-1234',
      'req-1234',
    ]);
    const made = await Promise.all([1, 2, 3].map(() => weir.http.get('/canmessage?user_id=u')));
    expect(new Set(made.map(({ headers }) => headers.get('x-request-id'))).size).to.equal(3);
    for (const { headers } of made) expect(headers.get('x-request-id')).to.be.a('string').that.is.not.empty;
  });

  /** A request whose path is sent as it is written. */
  function raw(method: string, path: string): Promise<Answer<Problem>> {
    return new Promise((resolve, reject) => {
      const { hostname, port } = new URL(weir.http.url);
      const sent = request({ hostname, port, method, path, agent: false }, (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (chunk: string) => {
          text += chunk;
        });
        response.on('end', () => {
          const headers = new Headers(response.headers as Record<string, string>);
          resolve({ status: response.statusCode!, headers, text, body: JSON.parse(text) as Problem });
        });
      });
      sent.on('error', reject);
      sent.end();
    });
  }
});

describe('contract: the largest body', () => {
  it('1 MiB is taken, one byte more is 413', async () => {
    const weir = await WeirFixture.start({ settings: NO_TRIPWIRE });
    try {
      const people = new People(weir.http);
      const largest = JSON.stringify(purchase('large', 2)).padEnd(1024 * 1024, ' ');
      expect((await weir.http.post('/event', largest)).status).to.equal(202);
      expect((await weir.http.post('/event', `${largest} `)).status).to.equal(413);
      await people.post(flag('large'));
      await people.counted('large', { scam_message_flags: 1, total_spend: 2 });
    } finally {
      await weir.close();
    }
  });
});
