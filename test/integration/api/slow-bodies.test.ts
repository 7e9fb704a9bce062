import { expect } from 'chai';
import { RawConnection } from '../../support/raw-http.js';
import { until } from '../../support/redis-server.js';
import { ApiUnderTest, flag } from './api-under-test.js';

describe('api: bodies that do not end', () => {
  let api: ApiUnderTest;
  const connections: RawConnection[] = [];

  afterEach(async () => {
    for (const connection of connections.splice(0)) connection.destroy();
    await api.close();
  });

  async function open(): Promise<RawConnection> {
    const connection = await RawConnection.open(api.url);
    connections.push(connection);
    return connection;
  }

  const head = (length: number): string =>
    `POST /event HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: ${length}\r\n\r\n`;

  async function gauge(name: string): Promise<number> {
    const text = (await api.get('/metrics')).body['text'] as string;
    return Number(new RegExp(`^${name} (.*)$`, 'm').exec(text)?.[1]);
  }

  it('takes no place of those that are worked on', async () => {
    api = await (await ApiUnderTest.start({ IN_FLIGHT_MAX: '5', UNFINISHED_BODIES_MAX: '20' })).connected();
    for (let n = 0; n < 20; n++) (await open()).write(`${head(100)}{`);
    expect((await api.get('/canmessage?user_id=u')).status).to.equal(200);
    expect((await api.get('/health')).status).to.equal(200);
    expect(await gauge('in_flight_requests')).to.equal(1);
  });

  it('refuses one more with 503 overloaded, and serves what comes whole', async () => {
    api = await (await ApiUnderTest.start({ UNFINISHED_BODIES_MAX: '20' })).connected();
    for (let n = 0; n < 20; n++) (await open()).write(`${head(100)}{`);
    const body = JSON.stringify(flag('u'));
    const slow = await open();
    slow.write(head(body.length));
    await until(5000, 'it is answered', () => slow.statuses.length === 1);
    expect([slow.statuses, slow.body['code']]).to.deep.equal([[503], 'overloaded']);
    expect(slow.header('Retry-After')).to.equal('1');
    // The rest of its body is thrown away, and the connection can be used again.
    slow.write(`${body}${head(body.length)}${body}`);
    await until(5000, 'the next one is answered', () => slow.statuses.length === 2);
    expect(slow.statuses).to.deep.equal([503, 202]);
    const dropped = (await api.get('/metrics')).body['text'] as string;
    expect(dropped).to.include('dropped_requests_total{reason="overloaded"} 1\n');
    // A place is free again when one of them is given up.
    connections[0]!.destroy();
    await until(5000, 'a slow body is taken', async () => {
      const next = await open();
      next.write(head(body.length));
      await until(5000, 'the body is awaited or refused', async () => {
        await api.get('/health');
        return true;
      });
      next.write(body);
      await until(5000, 'it is answered', () => next.statuses.length === 1);
      return next.statuses[0] === 202;
    });
  });

  it('holds so many bytes of them and no more', async () => {
    api = await (await ApiUnderTest.start({ UNFINISHED_BODIES_BYTES_MAX: '100000' })).connected();
    const first = await open();
    first.write(`${head(80_000)}${' '.repeat(70_000)}`);
    const answer = await (async () => {
      const second = await open();
      second.write(`${head(80_000)}${' '.repeat(70_000)}`);
      await until(5000, 'one is refused', () => first.statuses.length + second.statuses.length === 1);
      return first.statuses.length === 1 ? first : second;
    })();
    expect([answer.statuses, answer.body['code']]).to.deep.equal([[503], 'overloaded']);
  });

  it('answers /health, /ready and /metrics when it works on all it may', async () => {
    api = await (await ApiUnderTest.start({ IN_FLIGHT_MAX: '1', REPLY_DEADLINE_MS: '5000' })).connected();
    const held = await open();
    held.write('DELETE /users/u/overrides/message HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n');
    await until(5000, 'it waits for a worker', async () => (await api.appended()) === 1);
    const refused = await api.get('/canmessage?user_id=u');
    expect([refused.status, refused.body['code']]).to.deep.equal([503, 'overloaded']);
    const event = await api.post('/event', flag('u'));
    expect([event.status, event.body['code']]).to.deep.equal([503, 'overloaded']);
    expect((await api.get('/health')).status).to.equal(200);
    expect((await api.get('/metrics')).status).to.equal(200);
    expect((await api.get('/ready')).body).to.have.property('checks');
    expect(held.statuses).to.deep.equal([]);
  });
});
