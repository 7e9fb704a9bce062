import { expect } from 'chai';
import type { Answer } from '../../support/http-client.js';
import { patient, RedisServer, until } from '../../support/redis-server.js';
import { NO_TRIPWIRE, WeirFixture } from '../../support/weir-fixture.js';
import { flag, People, purchase } from './people.js';

interface Problem {
  readonly status: number;
  readonly code: string;
}

describe('contract: the store is away', () => {
  let server: RedisServer;
  let weir: WeirFixture;
  let people: People;
  beforeEach(async () => {
    server = await RedisServer.start();
    weir = await WeirFixture.start({ settings: NO_TRIPWIRE, workers: 2, redisUrl: server.url });
    people = new People(weir.http);
  });
  afterEach(async () => {
    await weir.close();
    await server.stop();
  });

  const override = { allow: true, reason: 'r', actor: 'a' };
  const calls: readonly (readonly [what: string, call: () => Promise<Answer<Problem>>])[] = [
    ['POST /event', () => weir.http.post('/event', flag('u'))],
    ['POST /events', () => weir.http.post('/events', [flag('u'), flag('v'), flag('w')])],
    ['GET /canmessage', () => weir.http.get('/canmessage?user_id=u')],
    ['GET /canpurchase', () => weir.http.get('/canpurchase?user_id=u')],
    ['GET restrictions', () => weir.http.get('/users/u/restrictions')],
    ['PUT override', () => weir.http.put('/users/u/overrides/message', override)],
    ['DELETE override', () => weir.http.delete('/users/u/overrides/message')],
    ['GET /rules', () => weir.http.get('/rules')],
    ['PUT mode', () => weir.http.put('/rules/scam_message_rule/mode', { mode: 'live' })],
    ['POST rearm', () => weir.http.post('/rules/scam_message_rule/rearm')],
    ['POST rollback', () => weir.http.post('/rules/scam_message_rule/rollback')],
    ['GET /dead-letters', () => weir.http.get('/dead-letters')],
    ['POST replay', () => weir.http.post('/dead-letters/events.0.1-1/replay')],
    ['DELETE dead letter', () => weir.http.delete('/dead-letters/events.0.1-1')],
  ];

  async function expectUnavailable(): Promise<void> {
    for (const [what, call] of calls) {
      const started = performance.now();
      const { status, headers, body } = await call();
      expect(performance.now() - started, what).to.be.below(patient(1000));
      expect([what, status, body.status, body.code]).to.deep.equal([what, 503, 503, 'store_unavailable']);
      expect(headers.get('content-type')).to.equal('application/problem+json');
      expect(headers.get('retry-after'), what).to.match(/^[1-9]\d*$/);
    }
    expect((await weir.http.get('/health')).status).to.equal(200);
    const ready = await weir.http.get<{ checks: { redis: string } }>('/ready');
    expect([ready.status, ready.body.checks.redis]).to.deep.equal([503, 'down']);
  }

  async function expectRecovered(): Promise<void> {
    await until(15_000, 'weir is ready again', async () => (await weir.http.get('/ready')).status === 200);
    expect(await people.canMessage('flagged')).to.equal(false);
    await people.post(purchase('flagged', 1));
    await people.counted('flagged', { scam_message_flags: 2, total_spend: 1 });
    await people.restrictByFlags('after');
    const put = await weir.http.put('/users/after/overrides/message', override);
    expect(put.status).to.equal(200);
    expect(await people.canMessage('after')).to.equal(true);
  }

  it('answers 503 within a second while Redis is down, and goes on by itself when it is up', async function () {
    this.timeout(60_000);
    await people.restrictByFlags('flagged');
    await server.down();
    await expectUnavailable();
    await server.up();
    await expectRecovered();
    const metrics = (await weir.http.get('/metrics')).text;
    expect(metrics).to.include(`dropped_requests_total{reason="store_unavailable"} ${calls.length}\n`);
  });

  it('answers 503 within a second while Redis hangs, and goes on by itself when it moves', async function () {
    this.timeout(60_000);
    await people.restrictByFlags('flagged');
    process.kill(server.pid, 'SIGSTOP');
    try {
      await expectUnavailable();
    } finally {
      process.kill(server.pid, 'SIGCONT');
    }
    await expectRecovered();
  });

  it('answers 503 to writes while Redis is out of memory, goes on reading, and recovers', async () => {
    await people.restrictByFlags('flagged');
    await weir.redis.config('SET', 'maxmemory', 1);
    for (const answer of [
      await weir.http.post<Problem>('/event', flag('u')),
      await weir.http.post<Problem>('/events', [flag('u')]),
    ]) {
      expect([answer.status, answer.body.code]).to.deep.equal([503, 'store_unavailable']);
      expect(answer.headers.get('retry-after')).to.match(/^[1-9]\d*$/);
    }
    expect(await people.canMessage('flagged')).to.equal(false);
    await weir.redis.config('SET', 'maxmemory', 0);
    await expectRecovered();
  });
});
