import { connect } from 'node:net';
import { expect } from 'chai';
import { type Answer, ApiUnderTest, flag } from './api-under-test.js';

describe('api: errors over HTTP', () => {
  let api: ApiUnderTest;

  before(async () => {
    api = await (await ApiUnderTest.start({ BODY_BYTES_MAX: '100000' })).connected();
  });
  after(() => api.close());
  afterEach(async () => {
    expect(await api.messages(), 'nothing was appended').to.deep.equal([]);
  });

  function expectProblem(answer: Answer, status: number, code: string): void {
    expect({ status: answer.status, code: answer.body['code'] }).to.deep.equal({ status, code });
    expect(answer.headers.get('content-type')).to.equal('application/problem+json');
    expect(answer.body).to.include({ status, code, type: `urn:weir:problem:${code}` });
    expect(answer.body['title']).to.be.a('string').that.is.not.empty;
    expect(answer.body['detail']).to.be.a('string').that.is.not.empty;
    expect(answer.body['request_id']).to.equal(answer.headers.get('x-request-id'));
    expect(JSON.stringify(answer.body)).not.to.match(/\.js|node_modules|at Object/);
  }

  const malformed: readonly (readonly [what: string, body: string | Uint8Array])[] = [
    ['a body that is cut off', '{"name":'],
    ['an empty body', ''],
    ['a body of blanks', '  \n '],
    ['a number that is no JSON', '{"a":01}'],
    ['invalid UTF-8', new Uint8Array([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d])],
    ['two byte order marks', '\ufeff\ufeff{}'],
    ['a byte order mark alone', '\ufeff'],
  ];
  for (const [what, body] of malformed) {
    it(`answers 400 malformed_json to ${what}`, async () => {
      expectProblem(await api.post('/event', body), 400, 'malformed_json');
    });
  }

  const purchase = (properties: string): string =>
    `{"name":"purchase_made","event_properties":{"user_id":"u",${properties}}}`;
  const invalid: readonly (readonly [what: string, body: string, path: string])[] = [
    ['an array', '[]', ''],
    ['null', 'null', ''],
    ['no name', '{"event_properties":{"user_id":"u"}}', 'name'],
    ['a name that is no text', '{"name":1,"event_properties":{}}', 'name'],
    ['no properties', '{"name":"purchase_made"}', 'event_properties'],
    ['1e999', purchase('"amount":1e999'), 'event_properties.amount'],
    ['1e999 in a property that is ignored', purchase('"amount":1,"x":-1e999'), 'event_properties.x'],
    ['an amount of 0', purchase('"amount":0'), 'event_properties.amount'],
    ['a negative amount', purchase('"amount":-1'), 'event_properties.amount'],
    ['five decimals', purchase('"amount":0.00001'), 'event_properties.amount'],
    ['an amount as text', purchase('"amount":"1"'), 'event_properties.amount'],
    ['__proto__', purchase('"amount":1,"__proto__":{"a":1}'), 'event_properties.__proto__'],
    ['constructor', purchase('"amount":1,"constructor":1'), 'event_properties.constructor'],
    [
      '__proto__ at the top',
      '{"__proto__":1,"name":"scam_message_flagged","event_properties":{"user_id":"u"}}',
      '__proto__',
    ],
    ['an unknown field', '{"x":1,"name":"scam_message_flagged","event_properties":{"user_id":"u"}}', 'x'],
    ['a nested property', purchase('"amount":1,"x":{}'), 'event_properties.x'],
    [
      '62 levels in a property',
      purchase(`"amount":1,"x":${'['.repeat(62)}${']'.repeat(62)}`),
      'event_properties.x',
    ],
    ['65 levels in all', purchase(`"amount":1,"x":${'['.repeat(63)}${']'.repeat(63)}`), ''],
    ['100,000 open brackets', '['.repeat(100_000), ''],
    ['5,000 levels at the top', `${'['.repeat(5000)}${']'.repeat(5000)}`, ''],
    ['a user id of 200 characters', JSON.stringify(flag('u'.repeat(200))), 'event_properties.user_id'],
    ['an empty user id', JSON.stringify(flag('')), 'event_properties.user_id'],
    ['a user id with U+0000', JSON.stringify(flag('a\0b')), 'event_properties.user_id'],
    [
      'a lone surrogate',
      '{"name":"scam_message_flagged","event_properties":{"user_id":"\\ud800"}}',
      'event_properties.user_id',
    ],
    ['an event id of 200 characters', JSON.stringify(flag('u', { event_id: 'e'.repeat(200) })), 'event_id'],
    ['an event id that is a number', JSON.stringify(flag('u', { event_id: 1 })), 'event_id'],
    [
      'a timestamp without zone',
      JSON.stringify(flag('u', { timestamp: '2026-01-01T00:00:00' })),
      'timestamp',
    ],
    ['the 30th of February', JSON.stringify(flag('u', { timestamp: '2026-02-30T00:00:00Z' })), 'timestamp'],
  ];
  for (const [what, body, path] of invalid) {
    it(`answers 422 invalid_request to ${what}, naming the path`, async () => {
      const answer = await api.post('/event', body);
      expectProblem(answer, 422, 'invalid_request');
      expect((answer.body['errors'] as { path: string }[]).map((error) => error.path)).to.deep.equal([path]);
    });
  }

  it('answers 422 unknown_event with the known ones', async () => {
    const answer = await api.post('/event', { name: 'toString', event_properties: { user_id: 'u' } });
    expectProblem(answer, 422, 'unknown_event');
    expect(answer.body['known']).to.deep.equal([
      ...['scam_message_flagged', 'credit_card_added', 'purchase_made', 'chargeback_occurred'],
    ]);
  });

  for (const type of [
    'text/plain',
    'application/x-www-form-urlencoded',
    'application/json; charset=latin1',
    'application/jsonx',
  ]) {
    it(`answers 415 to ${type}`, async () => {
      expectProblem(await api.post('/event', '{}', { 'content-type': type }), 415, 'unsupported_media_type');
    });
  }

  it('answers 415 to a body without content type', async () => {
    const bytes = new TextEncoder().encode('{}');
    const response = await fetch(`${api.url}/event`, { method: 'POST', body: bytes });
    expect(response.status).to.equal(415);
  });

  it('answers 415 to a compressed body', async () => {
    expectProblem(
      await api.post('/event', '{}', { 'content-encoding': 'gzip' }),
      415,
      'unsupported_media_type',
    );
  });

  it('answers 415 to lines of JSON where one event is expected', async () => {
    expectProblem(
      await api.post('/event', '{}', { 'content-type': 'application/x-ndjson' }),
      415,
      'unsupported_media_type',
    );
  });

  it('answers 413 to a body that declares too many bytes, and goes on with the connection', async () => {
    const body = JSON.stringify(flag('u')).padEnd(100_001, ' ');
    const answers = await sendRaw(
      `POST /event HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}` +
        'GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n',
    );
    expect(answers.match(/HTTP\/1\.1 (\d+)/g)).to.deep.equal(['HTTP/1.1 413', 'HTTP/1.1 200']);
    expect(answers).to.include('"code":"body_too_large"');
  });

  it('answers 413 to a chunked body that grows too large', async () => {
    const chunk = 'x'.repeat(60_000);
    const chunkText = `${chunk.length.toString(16)}\r\n${chunk}\r\n`;
    const answers = await sendRaw(
      'POST /event HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n' +
        `${chunkText}${chunkText}0\r\n\r\nGET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`,
    );
    expect(answers.match(/HTTP\/1\.1 (\d+)/g)).to.deep.equal(['HTTP/1.1 413', 'HTTP/1.1 200']);
  });

  it('hangs up on a refused body that does not end', async () => {
    const socket = connect(Number(new URL(api.url).port), '127.0.0.1');
    const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
    socket.on('error', () => undefined);
    socket.resume();
    socket.write(
      'POST /event HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1000000000\r\n\r\n',
    );
    const megabyte = Buffer.alloc(1024 * 1024, 'x');
    const pump = (): void => {
      while (!socket.destroyed && socket.write(megabyte));
      if (!socket.destroyed) socket.once('drain', pump);
    };
    pump();
    await closed;
  });

  it('survives a caller that hangs up in the middle of a body', async () => {
    const socket = connect(Number(new URL(api.url).port), '127.0.0.1');
    await new Promise<void>((resolve) => socket.once('connect', () => resolve()));
    socket.write(
      'POST /event HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"na',
    );
    socket.end();
    socket.destroy();
    expect((await api.get('/health')).status).to.equal(200);
  });

  it('answers 404 not_found to an unknown path, with and without trailing parts', async () => {
    expectProblem(await api.get('/nothing/here?x=1'), 404, 'not_found');
    expectProblem(await api.get('/users//restrictions'), 404, 'not_found');
    expectProblem(await api.request('OPTIONS', '/nothing'), 404, 'not_found');
  });

  const wrongMethods: readonly (readonly [method: string, path: string, allow: string])[] = [
    ['GET', '/event', 'POST, OPTIONS'],
    ['DELETE', '/events', 'POST, OPTIONS'],
    ['POST', '/canmessage?user_id=u', 'GET, HEAD, OPTIONS'],
    ['PATCH', '/users/u/overrides/message', 'PUT, DELETE, OPTIONS'],
    ['PUT', '/dead-letters/events.0.1-1', 'DELETE, OPTIONS'],
    ['GET', '/rules/scam_message_rule/rearm', 'POST, OPTIONS'],
  ];
  for (const [method, path, allow] of wrongMethods) {
    it(`answers 405 to ${method} ${path}, with Allow`, async () => {
      const answer = await api.request(method, path);
      expectProblem(answer, 405, 'method_not_allowed');
      expect(answer.headers.get('allow')).to.equal(allow);
    });
  }

  it('answers OPTIONS with Allow', async () => {
    const answer = await api.request('OPTIONS', '/canmessage');
    expect(answer.status).to.equal(204);
    expect(answer.headers.get('allow')).to.equal('GET, HEAD, OPTIONS');
  });

  it('answers HEAD as GET without a body', async () => {
    const answer = await fetch(`${api.url}/canmessage?user_id=u`, { method: 'HEAD' });
    expect(answer.status).to.equal(200);
    expect(await answer.text()).to.equal('');
  });

  const queries: readonly (readonly [what: string, path: string, defect: string])[] = [
    ['no user_id', '/canmessage', 'user_id'],
    ['an empty user_id', '/canpurchase?user_id=', 'user_id'],
    ['user_id twice', '/canmessage?user_id=a&user_id=b', 'user_id'],
    ['user_id twice, once encoded', '/canmessage?user_id=a&user%5Fid=b', 'user_id'],
    ['another parameter twice', '/canmessage?user_id=a&x=1&x=1', 'x'],
    ['malformed percent-encoding', '/canmessage?user_id=%E0%A4%A', 'query'],
    ['a user_id of 200 characters', `/canmessage?user_id=${'u'.repeat(200)}`, 'user_id'],
    ['U+0000', '/canmessage?user_id=a%00', 'user_id'],
    ['malformed percent-encoding in the path', '/users/%E0%A4%A/restrictions', 'path'],
    ['a long id in the path', `/users/${'u'.repeat(200)}/restrictions`, 'user_id'],
    ['an unknown topic', '/dead-letters?topic=nothing', 'topic'],
    ['a limit of 0', '/dead-letters?limit=0', 'limit'],
    ['a limit above 1000', '/dead-letters?limit=1001', 'limit'],
    ['a broken cursor', '/dead-letters?cursor=abc', 'cursor'],
  ];
  for (const [what, path, defect] of queries) {
    it(`answers 422 to ${what}`, async () => {
      const answer = await api.get(path);
      expectProblem(answer, 422, 'invalid_request');
      expect((answer.body['errors'] as { path: string }[]).map((error) => error.path)).to.deep.equal([
        defect,
      ]);
    });
  }

  it('echoes a request id and makes one where it is missing or unfit', async () => {
    const echoed = await api.request('GET', '/nothing', undefined, { 'x-request-id': 'abc-123!' });
    expect(echoed.headers.get('x-request-id')).to.equal('abc-123!');
    expect(echoed.body['request_id']).to.equal('abc-123!');
    const unfit = await api.request('GET', '/health', undefined, { 'x-request-id': 'with blank' });
    expect(unfit.headers.get('x-request-id')).to.match(/^[\x21-\x7e]{8,40}$/);
    const tooLong = await api.request('GET', '/health', undefined, { 'x-request-id': 'x'.repeat(129) });
    expect(tooLong.headers.get('x-request-id')).to.have.length.below(129);
    const ids = await Promise.all(
      [1, 2, 3].map(async () => (await api.get('/health')).headers.get('x-request-id')),
    );
    expect(new Set(ids).size).to.equal(3);
  });

  it('answers what is not HTTP with a problem, and hangs up', async () => {
    const answer = await sendRaw('NONSENSE\r\n\r\n');
    expect(answer).to.match(/^HTTP\/1\.1 400 Bad Request\r\n/);
    expect(answer).to.include('application/problem+json').and.include('"code":"invalid_request"');
    const long = await sendRaw(
      `GET /health HTTP/1.1\r\nHost: localhost\r\nX-Long: ${'x'.repeat(20_000)}\r\n\r\n`,
    );
    expect(long).to.match(/^HTTP\/1\.1 431 /);
  });

  /** Sends bytes as they are and reads until the server hangs up. */
  function sendRaw(text: string): Promise<string> {
    return new Promise((resolve, reject) => {
      const socket = connect(Number(new URL(api.url).port), '127.0.0.1');
      let answer = '';
      socket.setTimeout(10_000, () => reject(new Error(`no end of answer; so far: ${answer}`)));
      socket.on('data', (chunk) => {
        answer += chunk.toString('latin1');
      });
      socket.on('error', reject);
      socket.on('close', () => resolve(answer));
      socket.write(text);
    });
  }
});
