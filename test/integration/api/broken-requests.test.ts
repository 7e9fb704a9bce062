import { expect } from 'chai';
import { RawConnection } from '../../support/raw-http.js';
import { until } from '../../support/redis-server.js';
import { ApiUnderTest } from './api-under-test.js';

describe('api: what is no proper HTTP', () => {
  let api: ApiUnderTest;
  const connections: RawConnection[] = [];

  before(async () => {
    api = await (await ApiUnderTest.start({ REPLY_DEADLINE_MS: '300' })).connected();
  });
  after(() => api.close());
  afterEach(() => {
    for (const connection of connections.splice(0)) connection.destroy();
  });

  async function open(): Promise<RawConnection> {
    const connection = await RawConnection.open(api.url);
    connections.push(connection);
    return connection;
  }

  const requests: readonly (readonly [what: string, text: string, status: number, title: string])[] = [
    ['no request line', 'NONSENSE\r\n\r\n', 400, 'Bad Request'],
    ['no Host', 'GET /health HTTP/1.1\r\n\r\n', 400, 'Bad Request'],
    ['a header without a colon', 'GET /health HTTP/1.1\r\nHost: localhost\r\nx\r\n\r\n', 400, 'Bad Request'],
    [
      'two lengths',
      'POST /event HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{',
      400,
      'Bad Request',
    ],
    ['CONNECT', 'CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n', 400, 'Bad Request'],
    [
      'an unknown Expect',
      'POST /event HTTP/1.1\r\nHost: localhost\r\nExpect: miracles\r\nContent-Length: 2\r\n\r\n{}',
      417,
      'Expectation Failed',
    ],
    [
      'an Expect of 20 kB',
      `POST /event HTTP/1.1\r\nHost: localhost\r\nExpect: ${'x'.repeat(20_000)}\r\n\r\n`,
      431,
      'Request Header Fields Too Large',
    ],
    [
      'a target of 20 kB',
      `GET /${'x'.repeat(20_000)} HTTP/1.1\r\nHost: localhost\r\n\r\n`,
      431,
      'Request Header Fields Too Large',
    ],
  ];
  for (const [what, text, status, title] of requests) {
    it(`answers ${what} with ${status}, a problem and a request id, and hangs up`, async () => {
      const connection = await open();
      connection.write(text);
      await connection.closed;
      expect(connection.statuses).to.deep.equal([status]);
      expect(connection.received).to.match(new RegExp(`^HTTP/1\\.1 ${status} ${title}\r\n`));
      expect(connection.header('Content-Type')).to.equal('application/problem+json');
      expect(connection.header('Connection')).to.equal('close');
      const id = connection.header('X-Request-Id');
      expect(id).to.match(/^[\x21-\x7e]{8,40}$/);
      expect(connection.body).to.deep.equal({
        ...{ type: 'urn:weir:problem:invalid_request', title, status },
        ...{ detail: `The request is not valid HTTP: ${title}.`, code: 'invalid_request', request_id: id },
      });
    });
  }

  it('echoes the request id where the headers could be read', async () => {
    const connection = await open();
    connection.write(
      'POST /event HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: mine\r\nExpect: x\r\nContent-Length: 0\r\n\r\n',
    );
    await connection.closed;
    expect(connection.header('X-Request-Id')).to.equal('mine');
  });

  it('takes HTTP/1.0 without a Host, as no browser speaks it', async () => {
    const connection = await open();
    connection.write('GET /canmessage?user_id=u HTTP/1.0\r\n\r\n');
    await connection.closed;
    expect(connection.statuses).to.deep.equal([200]);
  });

  it('says 100 Continue to who asks for it, and takes the body', async () => {
    const connection = await open();
    const head =
      'POST /events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 2\r\n';
    connection.write(`${head}Expect: 100-continue\r\nConnection: close\r\n\r\n`);
    await until(5000, 'it may go on', () => connection.statuses.length === 1);
    connection.write('[]');
    await connection.closed;
    expect(connection.statuses).to.deep.equal([100, 422]);
  });

  const unwanted: readonly (readonly [what: string, lines: string, status: number])[] = [
    ['that is too large', 'Content-Type: application/json\r\nContent-Length: 99999999', 413],
    ['of another type', 'Content-Type: text/plain\r\nContent-Length: 9', 415],
    ['of a foreign page', 'Origin: http://evil.example\r\nContent-Length: 9', 403],
  ];
  for (const [what, lines, status] of unwanted) {
    it(`does not ask for a body ${what}`, async () => {
      const connection = await open();
      const head = 'POST /events HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n';
      connection.write(`${head}${lines}\r\n\r\n`);
      await until(5000, 'it is answered', () => connection.received.endsWith('}'));
      expect(connection.statuses).to.deep.equal([status]);
    });
  }

  it('answers a caller that has closed its half, also where the answer takes a while', async () => {
    for (const text of ['GET /canmessage?user_id=u', 'DELETE /users/u/overrides/message']) {
      const connection = await open();
      connection.socket.end(`${text} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n`);
      await connection.closed;
      expect(connection.statuses).to.deep.equal([text.startsWith('GET') ? 200 : 202]);
    }
  });

  it('answers 400 to a caller that closes its half in the middle of a body', async () => {
    const connection = await open();
    connection.socket.end(
      'POST /event HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{',
    );
    await connection.closed;
    expect([connection.statuses, connection.body['code']]).to.deep.equal([[400], 'invalid_request']);
  });

  it('outlives callers that reset their connection, also after CONNECT', async () => {
    for (const text of ['CONNECT a:1 HTTP/1.1\r\nHost: localhost\r\n\r\n', 'NONSENSE\r\n\r\n']) {
      for (let n = 0; n < 10; n++) {
        const connection = await open();
        connection.write(text);
        connection.socket.resetAndDestroy();
        await connection.closed;
      }
    }
    // An error that nothing listens to ends the process, and fails this test.
    expect((await api.get('/health')).status).to.equal(200);
  });

  const refused: readonly (readonly [what: string, lines: string, status: number, code: string])[] = [
    ['too large', 'Connection: close', 413, 'body_too_large'],
    ['of an unknown Expect', 'Expect: miracles', 417, 'invalid_request'],
    ['of a foreign page', 'Connection: close\r\nOrigin: http://evil.example', 403, 'cross_site'],
  ];
  for (const [what, lines, status, code] of refused) {
    it(`resets no connection that it closes while a body ${what} is coming in`, async () => {
      const connection = await open();
      const errors: unknown[] = [];
      connection.socket.on('error', (error) => errors.push(error));
      const length = 8 * 1024 * 1024;
      connection.write(
        `POST /event HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${length}\r\nContent-Type: application/json\r\n${lines}\r\n\r\n`,
      );
      connection.write(' '.repeat(length));
      await connection.closed;
      expect(errors).to.deep.equal([]);
      expect([connection.statuses, connection.body['code']]).to.deep.equal([[status], code]);
    });
  }

  it('answers the whole requests before it first', async () => {
    const connection = await open();
    const slow = 'DELETE /users/u/overrides/message HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n';
    connection.write(`${slow}${slow}NONSENSE\r\n\r\n`);
    await connection.closed;
    expect(connection.statuses).to.deep.equal([202, 202, 400]);
  });
});
