import { expect } from 'chai';
import type { Sink } from '../../../consumer/engine/outbox-drain.js';
import { VERSION } from '../../../shared/version.js';
import { event } from '../../support/partitions.js';
import { until } from '../../support/redis-server.js';
import { NO_TRIPWIRE, WeirFixture } from '../../support/weir-fixture.js';
import { flag } from './people.js';

interface Ready {
  readonly status: string;
  readonly checks: Readonly<Record<string, string>>;
  readonly warnings?: readonly object[];
}

describe('contract: operations', () => {
  let weir: WeirFixture;
  afterEach(() => weir.close());

  it('GET /health is 200 and says so, with and without workers', async () => {
    weir = await WeirFixture.start({ workers: 0 });
    for (const workers of [0, 1]) {
      if (workers === 1) await weir.worker();
      const { status, body, headers } = await weir.http.get('/health');
      expect([status, body]).to.deep.equal([200, { status: 'ok', version: VERSION }]);
      expect(headers.get('content-type')).to.equal('application/json');
    }
  });

  it('GET /ready is 503 without workers, 200 with one, and 503 again when it has left', async () => {
    weir = await WeirFixture.start({ workers: 0 });
    const ready = () => weir.http.get<Ready>('/ready');
    const none = await ready();
    expect(none.status).to.equal(503);
    expect(none.body).to.deep.equal({
      status: 'not_ready',
      checks: { redis: 'ok', postgres: 'not_configured', workers: 'none' },
    });
    const worker = await weir.worker();
    await until(10_000, 'weir is ready', async () => (await ready()).status === 200);
    expect((await ready()).body).to.deep.equal({
      status: 'ready',
      checks: { redis: 'ok', postgres: 'not_configured', workers: 'ok' },
    });
    await worker.close();
    const left = await ready();
    expect([left.status, left.body.checks['workers']]).to.deep.equal([503, 'none']);
  });

  it('GET /ready is 200 and names a partition that waits, and why, until it goes on', async () => {
    weir = await WeirFixture.start({ settings: NO_TRIPWIRE, workers: 0 });
    let isAway = true;
    const sink: Sink = {
      ...{ name: 'slow', topic: 'events', knows: () => true },
      write: async () => {
        if (isAway) throw new Error('away');
      },
    };
    await weir.worker({ DEAD_LETTERS_MAX: '1', OUTBOX_MAX: '1' }, undefined, [sink]);
    await weir.ready();
    const ready = async (): Promise<unknown> => {
      const { status, body } = await weir.http.get<Ready>('/ready');
      expect([status, body.status, body.checks['workers']]).to.deep.equal([200, 'ready', 'ok']);
      return body.warnings;
    };
    const waits = async (user: string, detail: string): Promise<void> => {
      const partition = `events.${weir.topic.indexOf(user)}`;
      await until(5000, `${partition} is named`, async () => (await ready()) !== undefined);
      expect(await ready()).to.deep.equal([{ code: 'partition_waits', partition, detail }]);
    };
    await weir.topic.append([event('nonsense', 'u')]);
    await waits('u', 'dead letters are full: replay or delete some');
    await weir.redis.del(weir.topic.keysOf('u').dead);
    await until(5000, 'nothing waits', async () => (await ready()) === undefined);
    await weir.topic.append([event('scam_message_flagged', 'v'), event('scam_message_flagged', 'v')]);
    await waits('v', 'the outbox is full: its sinks are behind');
    isAway = false;
    await until(10_000, 'nothing waits', async () => (await ready()) === undefined);
  }).timeout(30_000);

  it('GET /metrics has exactly the names of the contract, each at 0 from the start, and its own as weir_', async () => {
    weir = await WeirFixture.start({ workers: 0 });
    const { status, headers, text } = await weir.http.get('/metrics');
    expect(status).to.equal(200);
    expect(headers.get('content-type')).to.match(/^text\/plain; version=0\.0\.4/);
    const types = Object.fromEntries(
      [...text.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map(([, name, type]) => [name, type]),
    );
    // What the Prometheus client says about its process has names of its own.
    const own = Object.entries(types).filter(([name]) => !/^(weir|process|nodejs)_/.test(name));
    expect(Object.fromEntries(own)).to.deep.equal({
      request_count_total: 'counter',
      request_duration_seconds: 'histogram',
      in_flight_requests: 'gauge',
      queue_depth: 'gauge',
      dropped_requests_total: 'counter',
    });
    for (const line of [
      'request_count_total{method="POST",route="/event",status="202"} 0',
      'request_duration_seconds_count{method="POST",route="/event"} 0',
      'request_duration_seconds_bucket{method="POST",route="/event",le="+Inf"} 0',
      'queue_depth{topic="events"} 0',
      'dropped_requests_total{reason="backlog_full"} 0',
      'dropped_requests_total{reason="store_unavailable"} 0',
      // The request that asks is in flight itself.
      'in_flight_requests 1',
    ]) {
      expect(text.split('\n'), line).to.include(line);
    }
  });

  it('GET /metrics counts requests by route and never by path, and the queue from its first message', async () => {
    weir = await WeirFixture.start({ workers: 0 });
    const { http } = weir;
    for (let i = 0; i < 3; i += 1) await http.post('/event', flag(`u${i}`));
    await http.post('/event', '{');
    for (const user of ['ann', 'ben']) await http.get(`/users/${user}/restrictions`);
    await http.get('/nothing/of/ours');
    await until(5000, 'the queue is measured', async () =>
      (await http.get('/metrics')).text.includes('queue_depth{topic="events"} 3\n'),
    );
    const { text } = await http.get('/metrics');
    for (const line of [
      'request_count_total{method="POST",route="/event",status="202"} 3',
      'request_count_total{method="POST",route="/event",status="400"} 1',
      'request_count_total{method="GET",route="/users/:user_id/restrictions",status="200"} 2',
      'request_count_total{method="GET",route="unmatched",status="404"} 1',
      'request_duration_seconds_count{method="POST",route="/event"} 4',
    ]) {
      expect(text.split('\n'), line).to.include(line);
    }
    expect(text).not.to.match(/\/(ann|ben|nothing)/);
    await weir.worker();
    await until(10_000, 'the queue is empty', async () =>
      (await http.get('/metrics')).text.includes('queue_depth{topic="events"} 0\n'),
    );
  });

  it('a worker serves /health and /metrics of its own', async () => {
    weir = await WeirFixture.start({ workers: 0 });
    const { opsUrl } = await weir.worker();
    await weir.ready();
    const health = await fetch(`${opsUrl}/health`);
    expect([health.status, await health.json()]).to.deep.equal([200, { status: 'ok', version: VERSION }]);
    const text = await (await fetch(`${opsUrl}/metrics`)).text();
    const names = [...text.matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name!);
    expect(names.filter((name) => !/^(weir|process|nodejs)_/.test(name))).to.deep.equal([]);
    expect(names.some((name) => name.startsWith('weir_'))).to.equal(true);
  });

  it('a worker can be scraped from outside of loopback where OPS_HOST says so', async () => {
    weir = await WeirFixture.start({ workers: 0 });
    // Another address of this machine stands for the outside: by default nothing answers there.
    const ofDefault = await weir.worker();
    const elsewhere = new URL(ofDefault.opsUrl);
    elsewhere.hostname = '127.0.0.2';
    const refused = await fetch(elsewhere).catch(
      (error: Error & { cause?: { code?: string } }) => error.cause,
    );
    expect(refused).to.have.property('code', 'ECONNREFUSED');
    const { opsUrl } = await weir.worker({ OPS_HOST: '127.0.0.2' });
    expect(opsUrl).to.match(/^http:\/\/127\.0\.0\.2:\d+$/);
    expect((await fetch(`${opsUrl}/metrics`)).status).to.equal(200);
  });

  it('two installations share a Redis and know nothing of each other', async () => {
    weir = await WeirFixture.start();
    const other = await WeirFixture.start();
    try {
      await weir.http.post('/events', [flag('u'), flag('u')]);
      await until(10_000, 'u is restricted', async () => {
        const { text } = await weir.http.get('/canmessage?user_id=u');
        return text === '{"can_message":false}';
      });
      expect((await other.http.get('/canmessage?user_id=u')).text).to.equal('{"can_message":true}');
    } finally {
      await other.close();
    }
  });
});
