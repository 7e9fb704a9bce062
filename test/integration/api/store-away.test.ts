import { expect } from 'chai';
import { patient, RedisServer, until } from '../../support/redis-server.js';
import { type Answer, ApiUnderTest, flag } from './api-under-test.js';

describe('api: while Redis is away', () => {
  let server: RedisServer;
  let api: ApiUnderTest;

  beforeEach(async () => {
    server = await RedisServer.start();
  });
  afterEach(async () => {
    await api.close();
    await server.stop();
  });

  const calls: readonly (readonly [what: string, call: () => Promise<Answer>])[] = [
    ['POST /event', () => api.post('/event', flag('u'))],
    ['POST /events', () => api.post('/events', [flag('u'), flag('v')])],
    ['GET /canmessage', () => api.get('/canmessage?user_id=u')],
    ['GET restrictions', () => api.get('/users/u/restrictions')],
    [
      'PUT override',
      () => api.request('PUT', '/users/u/overrides/message', { allow: true, reason: 'r', actor: 'a' }),
    ],
    ['GET /rules', () => api.get('/rules')],
    ['PUT mode', () => api.request('PUT', '/rules/scam_message_rule/mode', { mode: 'off' })],
    ['POST rearm', () => api.post('/rules/scam_message_rule/rearm')],
    ['POST rollback', () => api.post('/rules/scam_message_rule/rollback')],
    ['GET /budget', () => api.get('/budget')],
    ['GET /budgets', () => api.get('/budgets')],
    [
      'PUT /budgets',
      () => api.request('PUT', '/budgets', { actor: 'a', reason: 'r', levels: [{ name: 'all', limit: 1 }] }),
    ],
    ['GET /dead-letters', () => api.get('/dead-letters')],
    ['POST replay', () => api.post('/dead-letters/events.0.1-1/replay')],
  ];

  async function expectAllUnavailable(): Promise<void> {
    const started = performance.now();
    const answers = await Promise.all(calls.map(async ([what, call]) => [what, await call()] as const));
    expect(performance.now() - started).to.be.below(patient(1000));
    for (const [what, { status, body, headers }] of answers) {
      expect([what, status, body['code']]).to.deep.equal([what, 503, 'store_unavailable']);
      expect(headers.get('retry-after')).to.equal('1');
    }
  }

  it('answers 503 within a second while Redis is down, and recovers by itself', async () => {
    api = await (await ApiUnderTest.start({ REDIS_URL: server.url })).connected();
    expect((await api.post('/event', flag('u'))).status).to.equal(202);
    await server.down();
    await expectAllUnavailable();
    expect((await api.get('/health')).status).to.equal(200);
    const ready = await api.get('/ready');
    expect(ready.status).to.equal(503);
    expect(ready.body['checks']).to.include({ redis: 'down' });
    await server.up();
    await until(5000, 'the API recovers', async () => (await api.post('/event', flag('u'))).status === 202);
    expect((await api.get('/canmessage?user_id=u')).status).to.equal(200);
  });

  it('answers 503 within a second while Redis hangs, and recovers by itself', async () => {
    api = await (await ApiUnderTest.start({ REDIS_URL: server.url })).connected();
    process.kill(server.pid, 'SIGSTOP');
    try {
      await expectAllUnavailable();
      await expectAllUnavailable();
    } finally {
      process.kill(server.pid, 'SIGCONT');
    }
    await until(5000, 'the API recovers', async () => (await api.post('/event', flag('u'))).status === 202);
  });

  it('starts without Redis and finds it when it comes', async () => {
    await server.down();
    api = await ApiUnderTest.start({ REDIS_URL: server.url });
    await expectAllUnavailable();
    await server.up();
    await api.connected();
    expect(await api.redis.hget(api.keys.meta, 'partitions')).to.equal('4');
  });

  it('goes on after SCRIPT FLUSH and after FLUSHALL', async () => {
    api = await (await ApiUnderTest.start({ REDIS_URL: server.url })).connected();
    await api.post('/event', flag('u'));
    await api.redis.script('FLUSH');
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, i) => api.post('/event', flag(`u${i}`))),
    );
    expect(answers.map(({ status }) => status)).to.deep.equal(Array(20).fill(202));
    expect(await api.messages()).to.have.length(21);
    await api.redis.flushall();
    expect((await api.post('/event', flag('u'))).status).to.equal(202);
  });

  it('answers 503 that speaks of memory when Redis is full, and recovers', async () => {
    api = await (await ApiUnderTest.start({ REDIS_URL: server.url })).connected();
    await api.post('/event', flag('u'));
    await api.redis.config('SET', 'maxmemory', 1);
    const refused = await api.post('/event', flag('u'));
    expect([refused.status, refused.body['code']]).to.deep.equal([503, 'store_unavailable']);
    expect(refused.body['detail']).to.match(/memory/);
    expect(refused.headers.get('retry-after')).to.equal('1');
    const batch = await api.post('/events', [flag('u'), flag('v')]);
    expect(batch.status).to.equal(503);
    expect((await api.get('/canmessage?user_id=u')).status).to.equal(200);
    await api.redis.config('SET', 'maxmemory', 0);
    expect((await api.post('/event', flag('u'))).status).to.equal(202);
    expect(await api.appended()).to.equal(2);
  });
});
