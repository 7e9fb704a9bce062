import { request } from 'node:http';
import { expect } from 'chai';
import { RawConnection } from '../../support/raw-http.js';
import { ApiUnderTest, flag } from './api-under-test.js';

type Fields = Readonly<Record<string, string>>;

describe('api: browsers', () => {
  let api: ApiUnderTest;
  let port: string;

  before(async () => {
    api = await (
      await ApiUnderTest.start({
        ALLOWED_HOSTS: 'api, Weir.example,other.example:8443',
        PUBLIC_URL: 'https://public.example/proxy',
      })
    ).connected();
    ({ port } = new URL(api.url));
  });
  after(() => api.close());

  /** fetch sends neither Host nor Origin as it is told. */
  function send(
    method: string,
    path: string,
    headers: Fields,
  ): Promise<readonly [status: number, code: unknown]> {
    return new Promise((resolve, reject) => {
      const req = request({ host: '127.0.0.1', port, method, path, headers }, (res) => {
        let text = '';
        res.on('data', (chunk: Buffer) => {
          text += chunk.toString();
        });
        res.on('end', () => {
          const isProblem = res.headers['content-type'] === 'application/problem+json';
          const { code } = (isProblem ? JSON.parse(text) : {}) as { readonly code?: unknown };
          resolve([res.statusCode!, code]);
        });
      });
      req.on('error', reject);
      req.end(method === 'POST' && path === '/event' ? JSON.stringify(flag('u')) : undefined);
    });
  }

  const json = { 'content-type': 'application/json' };
  const hosts = [
    ...[
      'localhost',
      'LOCALHOST:1',
      'weir.localhost:8080',
      '127.0.0.1',
      '127.9.8.7:80',
      '[::1]',
      '[::1]:8080',
    ],
    ...['api', 'api:8080', 'weir.example:1', 'other.example:8443', 'public.example', 'public.example:443'],
  ];
  for (const host of hosts) {
    it(`answers to the host ${host}`, async () => {
      expect(await send('GET', '/canmessage?user_id=u', { host })).to.deep.equal([200, undefined]);
      expect(await send('POST', '/event', { ...json, host })).to.deep.equal([202, undefined]);
    });
  }

  const foreignHosts = [
    ...[
      'evil.example',
      'evil.example:8080',
      'localhost.evil.example',
      'notlocalhost',
      '127.0.0.1.evil.example',
    ],
    ...[
      '127.1',
      '10.0.0.1',
      '[::2]',
      '0.0.0.0',
      'other.example',
      'other.example:1',
      'localhost:80@evil.example',
    ],
    ...['evil.example:localhost', '[::1]evil.example'],
  ];
  for (const host of foreignHosts) {
    it(`answers 421 wrong_host to the host "${host}"`, async () => {
      expect(await send('GET', '/canmessage?user_id=u', { host })).to.deep.equal([421, 'wrong_host']);
      expect(await send('POST', '/event', { ...json, host })).to.deep.equal([421, 'wrong_host']);
      expect(await send('OPTIONS', '/event', { host })).to.deep.equal([421, 'wrong_host']);
    });
  }

  it('answers whoever asks for its health, and a callback, to any host', async () => {
    const host = 'evil.example';
    for (const path of ['/health', '/metrics', '/health?x']) {
      expect((await send('GET', path, { host }))[0]).to.equal(200);
    }
    expect((await send('GET', '/ready', { host }))[0]).to.equal(503);
    expect((await send('POST', '/proxy/callback', { host }))[0]).not.to.equal(421);
    expect((await send('GET', '/health/x', { host }))[0]).to.equal(421);
  });

  it('takes the host of an absolute target for the host, and the path for the path', async () => {
    const target = async (authority: string, host: string): Promise<readonly number[]> => {
      const connection = await RawConnection.open(api.url);
      connection.write(
        `GET http://${authority}/canmessage?user_id=u HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`,
      );
      await connection.closed;
      return connection.statuses;
    };
    expect(await target('localhost:8080', 'localhost:8080')).to.deep.equal([200]);
    expect(await target('evil.example', 'localhost')).to.deep.equal([421]);
    expect(await target('localhost', 'evil.example')).to.deep.equal([421]);
    expect(await target('[', 'localhost')).to.deep.equal([421]);
  });

  const own: readonly (readonly [what: string, headers: Fields])[] = [
    ['no origin', { host: 'localhost:8080' }],
    ['its own origin', { host: 'localhost:8080', origin: 'http://localhost:8080' }],
    ['its own origin behind TLS', { host: 'weir.example', origin: 'https://weir.example' }],
    ['the origin of PUBLIC_URL', { host: 'api:8080', origin: 'https://public.example' }],
    ['its own site', { host: 'localhost', origin: 'http://localhost', 'sec-fetch-site': 'same-origin' }],
    ['the address bar', { host: 'localhost', 'sec-fetch-site': 'none' }],
  ];
  for (const [what, headers] of own) {
    it(`takes a write with ${what}`, async () => {
      expect(await send('POST', '/event', { ...json, ...headers })).to.deep.equal([202, undefined]);
    });
  }

  const foreign: readonly (readonly [what: string, headers: Fields])[] = [
    ['another origin', { host: 'localhost', origin: 'http://evil.example' }],
    ['another port of this machine', { host: 'localhost:8080', origin: 'http://localhost:3000' }],
    ['another name of this machine', { host: 'localhost:8080', origin: 'http://127.0.0.1:8080' }],
    ['an opaque origin', { host: 'localhost', origin: 'null' }],
    ['an origin that begins as its own', { host: 'localhost', origin: 'http://localhost.evil.example' }],
    ['another site', { host: 'localhost', 'sec-fetch-site': 'cross-site' }],
    [
      'another site and its own origin',
      { host: 'localhost', origin: 'http://localhost', 'sec-fetch-site': 'cross-site' },
    ],
    ['the same site without an origin', { host: 'localhost', 'sec-fetch-site': 'same-site' }],
  ];
  for (const [what, headers] of foreign) {
    it(`answers 403 cross_site to a write with ${what}`, async () => {
      const before = await api.appended();
      expect(await send('POST', '/event', { ...json, ...headers })).to.deep.equal([403, 'cross_site']);
      expect(await send('POST', '/rules/scam_message_rule/rollback', headers)).to.deep.equal([
        403,
        'cross_site',
      ]);
      expect(await send('DELETE', '/users/u/overrides/message', headers)).to.deep.equal([403, 'cross_site']);
      expect(await api.appended()).to.equal(before);
      // Its answer is no page's to read: there are no headers that would allow it.
      expect(await send('GET', '/canmessage?user_id=u', headers)).to.deep.equal([200, undefined]);
    });
  }
});
