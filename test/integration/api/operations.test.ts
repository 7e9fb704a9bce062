import { connect } from 'node:net';
import { expect } from 'chai';
import { VERSION } from '../../../shared/version.js';
import { patient } from '../../support/redis-server.js';
import { ApiUnderTest, flag } from './api-under-test.js';

describe('api: operations', () => {
  let api: ApiUnderTest;
  afterEach(() => api.close());

  it('is healthy while it lives', async () => {
    api = await ApiUnderTest.start();
    const answer = await api.get('/health');
    expect([answer.status, answer.body]).to.deep.equal([200, { status: 'ok', version: VERSION }]);
  });

  it('is ready when a worker lives and every partition has an owner', async () => {
    api = await (await ApiUnderTest.start()).connected();
    const none = await api.get('/ready');
    expect(none.status).to.equal(503);
    expect(none.body).to.deep.equal({
      status: 'not_ready',
      checks: { redis: 'ok', postgres: 'not_configured', workers: 'none' },
    });
    const [seconds] = await api.redis.time();
    await api.redis.zadd(api.keys.workers, Number(seconds) * 1000 + 999, 'w1');
    expect((await api.get('/ready')).body['checks']).to.include({ workers: 'partitions_unowned' });
    for (const slot of api.slots.all) await api.redis.set(slot.keys.lease, 'w1:1:x');
    const ready = await api.get('/ready');
    expect(ready.status).to.equal(200);
    expect(ready.body).to.deep.equal({
      status: 'ready',
      checks: { redis: 'ok', postgres: 'not_configured', workers: 'ok' },
    });
    await api.redis.zadd(api.keys.workers, (Number(seconds) - 10) * 1000, 'w1');
    expect((await api.get('/ready')).body['checks']).to.include({ workers: 'none' });
  });

  it('shows every metric of the contract at 0 from the start', async () => {
    api = await ApiUnderTest.start();
    const { status, headers, body } = await api.get('/metrics');
    const text = body['text'] as string;
    expect(status).to.equal(200);
    expect(headers.get('content-type')).to.match(/^text\/plain; version=0\.0\.4/);
    for (const line of [
      'request_count_total{method="POST",route="/event",status="202"} 0',
      'request_count_total{method="GET",route="/canmessage",status="200"} 0',
      'request_duration_seconds_count{method="POST",route="/event"} 0',
      'request_duration_seconds_bucket{method="POST",route="/event",le="+Inf"} 0',
      'in_flight_requests 1',
      'queue_depth{topic="events"} 0',
      'dropped_requests_total{reason="backlog_full"} 0',
      'dropped_requests_total{reason="store_unavailable"} 0',
      'dropped_requests_total{reason="overloaded"} 0',
      'weir_backlog_messages{partition="events.3"} 0',
      'weir_drain_messages_per_second{partition="events.0"} 0',
      'weir_append_batch_messages_count 0',
      'weir_workers_live 0',
    ]) {
      expect(text.split('\n')).to.include(line);
    }
  });

  it('counts by route pattern, never by path', async () => {
    api = await (await ApiUnderTest.start()).connected();
    await api.post('/event', flag('u'));
    await api.post('/event', '{');
    await api.get('/users/secret-user/restrictions');
    await api.get('/secret-path');
    await api.request('PATCH', '/event');
    const text = (await api.get('/metrics')).body['text'] as string;
    for (const line of [
      'request_count_total{method="POST",route="/event",status="202"} 1',
      'request_count_total{method="POST",route="/event",status="400"} 1',
      'request_count_total{method="GET",route="/users/:user_id/restrictions",status="200"} 1',
      'request_count_total{method="GET",route="unmatched",status="404"} 1',
      'request_count_total{method="PATCH",route="/event",status="405"} 1',
      'request_duration_seconds_count{method="POST",route="/event"} 2',
      'weir_append_batch_messages_count 1',
    ]) {
      expect(text.split('\n')).to.include(line);
    }
    expect(text).not.to.include('secret');
  });

  it('finishes a request in flight when it shuts down, and hangs up on idle connections', async () => {
    api = await (await ApiUnderTest.start({ REPLY_DEADLINE_MS: '300' })).connected();
    const port = Number(new URL(api.url).port);
    const unused = connect(port, '127.0.0.1').on('error', () => undefined);
    await new Promise((resolve) => unused.once('connect', resolve));
    const started = performance.now();
    const inFlight = api.request('PUT', '/users/u/overrides/message', {
      allow: true,
      reason: 'r',
      actor: 'a',
    });
    while ((await api.messages()).length === 0);
    const closed = api.close();
    const answer = await inFlight;
    expect(answer.status).to.equal(202);
    expect(answer.headers.get('connection')).to.equal('close');
    await closed;
    expect(performance.now() - started).to.be.below(patient(2000));
    const refused = await fetch(`${api.url}/health`).catch(() => 'refused');
    expect(refused).to.equal('refused');
  });

  it('refuses to work on data of another partition count', async () => {
    api = await (await ApiUnderTest.start()).connected();
    const other = await ApiUnderTest.start({ PARTITIONS: '8', WEIR_NAMESPACE: api.keys.namespace });
    try {
      await other.connected();
      expect(other.mismatches.map(({ message }) => message)).to.have.length(1);
      expect(other.mismatches[0]!.message).to.include('PARTITIONS is 8').and.include('PARTITIONS=4');
      expect((await other.post('/event', flag('u'))).status).to.equal(503);
      expect(await api.messages()).to.deep.equal([]);
    } finally {
      await other.close();
    }
  });
});
