import { expect } from 'chai';
import { until } from '../../support/redis-server.js';
import { ApiUnderTest, flag } from './api-under-test.js';

describe('api: backpressure', () => {
  let api: ApiUnderTest;
  afterEach(() => api.close());

  it('accepts BACKLOG_MAX messages of concurrent callers, exactly, and refuses the rest with 429', async () => {
    api = await (await ApiUnderTest.start({ BACKLOG_MAX: '100' })).connected();
    const answers = await Promise.all(Array.from({ length: 160 }, () => api.post('/event', flag('u'))));
    expect(answers.filter(({ status }) => status === 202)).to.have.length(100);
    const refused = answers.filter(({ status }) => status === 429);
    expect(refused).to.have.length(60);
    expect(refused[0]!.body['code']).to.equal('backlog_full');
    expect(Number(refused[0]!.headers.get('retry-after'))).to.be.within(1, 60);
    expect(await api.messages()).to.have.length(100);
    expect(await api.appended()).to.equal(100);
    const metrics = (await api.get('/metrics')).body['text'] as string;
    expect(metrics).to.include('dropped_requests_total{reason="backlog_full"} 60\n');
  });

  it('fills the room that is left with a part of a batch, and lists the rest', async () => {
    api = await (await ApiUnderTest.start({ BACKLOG_MAX: '10', PARTITIONS: '1' })).connected();
    await api.post('/events', Array(7).fill(flag('u')));
    const items = Array.from({ length: 5 }, (_, i) => flag('u', { event_id: `e${i}` }));
    const answer = await api.post('/events', items);
    expect(answer.status).to.equal(202);
    expect(answer.body['accepted']).to.equal(3);
    const rejected = answer.body['rejected'] as { index: number; event_id: string; code: string }[];
    expect(rejected.map(({ index, event_id, code }) => [index, event_id, code])).to.deep.equal([
      [3, 'e3', 'backlog_full'],
      [4, 'e4', 'backlog_full'],
    ]);
    expect((await api.messages()).slice(7).map(({ id }) => id)).to.deep.equal(['e0', 'e1', 'e2']);
    const full = await api.post('/events', items);
    expect(full.status).to.equal(429);
    expect(full.headers.get('retry-after')).to.match(/^\d+$/);
    expect(full.body['rejected']).to.have.length(5);
  });

  it('has room again as soon as messages are folded', async () => {
    api = await (await ApiUnderTest.start({ BACKLOG_MAX: '2', PARTITIONS: '1' })).connected();
    await api.post('/events', [flag('u'), flag('u')]);
    expect((await api.post('/event', flag('u'))).status).to.equal(429);
    await api.redis.hset(api.slots.all[0]!.keys.head, 'folded', 1);
    expect((await api.post('/event', flag('u'))).status).to.equal(202);
    expect((await api.post('/event', flag('u'))).status).to.equal(429);
  });

  it('refuses with 503 overloaded above IN_FLIGHT_MAX', async () => {
    api = await (await ApiUnderTest.start({ IN_FLIGHT_MAX: '1', REPLY_DEADLINE_MS: '10000' })).connected();
    const slow = api.request('PUT', '/users/u/overrides/message', { allow: true, reason: 'r', actor: 'a' });
    // Health, readiness and metrics answer outside of the bound.
    await until(5000, 'it is in flight', async () =>
      /^in_flight_requests 2$/m.test(await (await fetch(`${api.url}/metrics`)).text()),
    );
    const refused = await api.get('/canmessage?user_id=v');
    expect(refused.status).to.equal(503);
    expect(refused.body['code']).to.equal('overloaded');
    expect(refused.headers.get('retry-after')).to.equal('1');
    expect((await slow).status).to.equal(202);
    expect((await api.get('/canmessage?user_id=v')).status).to.equal(200);
  });
});
