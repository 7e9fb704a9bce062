import { connect } from 'node:net';
import { expect } from 'chai';
import { VERSION } from '../../../shared/version.js';
import { patient, RedisServer } from '../../support/redis-server.js';
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

  it('is ready, and says so, on a Redis that is full or may evict', async () => {
    const server = await RedisServer.start();
    try {
      api = await (await ApiUnderTest.start({ REDIS_URL: server.url })).connected();
      await owned();
      const warnings = async (): Promise<unknown> => {
        const { status, body } = await api.get('/ready');
        expect([status, body['status']]).to.deep.equal([200, 'ready']);
        return body['warnings'];
      };
      expect(await warnings()).to.equal(undefined);
      await api.redis.config('SET', 'maxmemory', '1gb');
      expect(await warnings()).to.equal(undefined);
      await api.redis.config('SET', 'maxmemory-policy', 'allkeys-lru');
      const evicts = 'Redis has maxmemory-policy allkeys-lru: when memory runs out it deletes decisions';
      expect(await warnings()).to.deep.equal([{ code: 'store_evicts', detail: evicts }]);
      await api.redis.config('SET', 'maxmemory-policy', 'noeviction');
      await api.redis.config('SET', 'maxmemory', '1mb');
      const full = 'Redis is at its maxmemory of 1048576 bytes: what is appended is refused';
      expect(await warnings()).to.deep.equal([{ code: 'store_full', detail: full }]);
      expect((await api.post('/event', flag('u'))).body['detail']).to.equal('The store is out of memory.');
      expect((await api.get('/canmessage?user_id=u')).status).to.equal(200);
      const { used_bytes, max_bytes } = (await api.get('/ready')).body['memory'] as Record<string, number>;
      expect(max_bytes).to.equal(1_048_576);
      const text = (await api.get('/metrics')).body['text'] as string;
      expect(text).to.include('weir_redis_memory_max_bytes 1048576\n');
      const used = Number(/^weir_redis_memory_used_bytes (\S+)$/m.exec(text)?.[1]);
      expect(used / used_bytes!).to.be.within(0.5, 2);
    } finally {
      await api.close();
      await server.stop();
    }
  });

  it('names the partitions that nobody has, and those whose commit failed half-way', async () => {
    api = await (await ApiUnderTest.start()).connected();
    await owned();
    const [, second, third] = api.slots.all;
    await api.redis.del(second!.keys.lease, third!.keys.lease);
    await api.redis.hset(third!.keys.head, 'dirty', 1);
    const { status, body } = await api.get('/ready');
    expect([status, body['checks']]).to.deep.equal([
      503,
      { redis: 'ok', postgres: 'not_configured', workers: 'partitions_unowned' },
    ]);
    expect(body['warnings']).to.deep.equal([
      { code: 'partition_unowned', partition: 'events.1', detail: 'no worker has it' },
      {
        code: 'partition_dirty',
        partition: 'events.2',
        detail: 'a commit failed half-way: npm run repair -- events.2',
      },
      { code: 'partition_unowned', partition: 'events.2', detail: 'no worker has it' },
    ]);
  });

  /** As if a worker lived and owned everything. */
  async function owned(): Promise<void> {
    const [seconds] = await api.redis.time();
    await api.redis.zadd(api.keys.workers, Number(seconds) * 1000 + 600_000, 'w1');
    for (const slot of api.slots.all) await api.redis.set(slot.keys.lease, 'w1:1:x');
  }

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
