import { expect } from 'chai';
import { ApiProcess } from '../../support/api-process.js';
import { testNamespace, testRedis } from '../../support/hooks.js';
import { RawConnection } from '../../support/raw-http.js';
import { until } from '../../support/redis-server.js';
import { ApiUnderTest, flag } from './api-under-test.js';

describe('api: bodies that do not end', () => {
  let api: ApiUnderTest;
  const connections: RawConnection[] = [];

  afterEach(async () => {
    for (const connection of connections.splice(0)) connection.destroy();
    await api?.close();
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

  it('costs what their bytes cost, also where each comes alone', async () => {
    const process = await ApiProcess.start({ REDIS_URL: testRedis().url, WEIR_NAMESPACE: testNamespace() });
    const memory = async (): Promise<number> => {
      const text = await (await fetch(`${process.url}/metrics`)).text();
      return Number(/^process_resident_memory_bytes (.*)$/m.exec(text)?.[1]);
    };
    try {
      const before = await memory();
      const slow = await RawConnection.open(process.url);
      connections.push(slow);
      slow.write(
        'POST /event HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n',
      );
      slow.write('1\r\n \r\n'.repeat(600_000));
      slow.write('0\r\n\r\n');
      await until(60_000, 'it is answered', () => slow.statuses.length === 1);
      expect([slow.statuses, slow.body['detail']]).to.deep.equal([[400], 'The body is empty.']);
      // What it took is not given back at once.
      expect((await memory()) - before).to.be.below(120_000_000);
    } finally {
      await process.end('SIGKILL');
    }
  }).timeout(120_000);

  it('leaves nothing in flight of callers that hang up, also of requests that wait for others on their connection', async () => {
    api = await (await ApiUnderTest.start({ REPLY_DEADLINE_MS: '300' })).connected();
    const slow = 'DELETE /users/u/overrides/message HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n';
    const quick = 'GET /canmessage?user_id=u HTTP/1.1\r\nHost: localhost\r\n\r\n';
    const caller = await open();
    caller.write(`${slow.repeat(2)}${quick.repeat(5)}${head(100)}{`);
    await until(5000, 'all are in flight', async () => (await gauge('in_flight_requests')) === 8);
    caller.destroy();
    await until(5000, 'none is', async () => (await gauge('in_flight_requests')) === 1);
    const metrics = (await api.get('/metrics')).body['text'] as string;
    expect(metrics).to.match(/^request_count_total{method="GET",route="\/canmessage",status="499"} 5$/m);
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
