import { expect } from 'chai';
import { admissionKey } from '../../../shared/messages/admissions.js';
import { patient, RedisServer, until } from '../../support/redis-server.js';
import { admissionMessages, ask, idIn, metric, ONE_WINDOW } from './admissions-under-test.js';
import { type Answer, ApiUnderTest, flag } from './api-under-test.js';

describe('api: admissions while Redis is away', () => {
  let server: RedisServer;
  let api: ApiUnderTest;

  beforeEach(async () => {
    server = await RedisServer.start();
  });
  afterEach(async () => {
    await api.close();
    await server.stop();
  });

  const start = async (settings: Readonly<Record<string, string>>): Promise<void> => {
    api = await ApiUnderTest.start({
      ...{ ...ONE_WINDOW, REDIS_URL: server.url, ADMISSION_DEADLINE_MS: '100', FAIL_OPEN_TOKENS_MAX: '1000' },
      ...settings,
    });
  };
  const admit = (more: object = {}): Promise<Answer> => api.post('/admissions', ask(more));
  const unreported = (): Promise<number> => metric(api, 'weir_fail_open_unreported');
  const reported = (): Promise<void> =>
    until(5000, 'everything is reported', async () => (await unreported()) === 0);

  const expectUndecided = (answer: Answer): void => {
    expect([answer.status, answer.body['code']]).to.deep.equal([503, 'undecided']);
    expect(answer.body).to.include({ retryable: true, reason: 'store_unavailable' });
    expect(answer.headers.get('retry-after')).to.equal('1');
  };

  const expectGiven = (answer: Answer, status: number): void => {
    expect([answer.status, answer.body['decision']]).to.deep.equal([status, 'ALLOW']);
    expect(answer.body['context']).to.deep.equal({ degraded: true, reason: 'store_unavailable' });
    expect(answer.body['admission_id']).to.match(/^.{16}o.{7}$/);
  };

  it('closed: answers 503 undecided, and remembers nothing', async () => {
    await start({ FAIL_MODE: 'closed' });
    await api.connected();
    await server.down();
    expectUndecided(await admit());
    expectUndecided(await admit({ request_id: 'r' }));
    expectUndecided(await api.post('/v1/evaluate', ask()));
    expect(await metric(api, 'weir_undecided_total{reason="store_unavailable",answer="refuse"}')).to.equal(3);
    expect(await unreported()).to.equal(0);
    await server.up();
    await api.connected();
    expect(await admissionMessages(api)).to.deep.equal([]);
  });

  it('closed: gives up, when Redis is back, what may have reached it', async () => {
    await start({ FAIL_MODE: 'closed' });
    await api.connected();
    process.kill(server.pid, 'SIGSTOP');
    try {
      expectUndecided(await admit());
    } finally {
      process.kill(server.pid, 'SIGCONT');
    }
    await reported();
    const messages = await admissionMessages(api);
    expect(messages.map(({ type }) => type)).to.deep.equal(['admit', 'cancel']);
    expect(messages[1]!.data).to.deep.equal({ admission: idIn(messages[0]!), abandoned: true });
  });

  it('open: admits within the allowance and reports in order when Redis is back, once', async () => {
    await start({ FAIL_MODE: 'open' });
    await api.connected();
    await server.down();
    const answers: Answer[] = [];
    for (const estimated_tokens of [500, 300, 201, 200, 1]) answers.push(await admit({ estimated_tokens }));
    expect(answers.map(({ status }) => status)).to.deep.equal([201, 201, 503, 201, 503]);
    expectUndecided(answers[2]!);
    const given = [answers[0]!, answers[1]!, answers[3]!];
    for (const answer of given) expectGiven(answer, 201);
    expect(await unreported()).to.equal(3);
    expect(await metric(api, 'weir_fail_open_tokens_total')).to.equal(1000);
    await server.up();
    await reported();
    const messages = await admissionMessages(api);
    expect(messages.map(({ type }) => type)).to.deep.equal(Array(3).fill('failed_open'));
    const ids = given.map((answer) => answer.body['admission_id']);
    expect(messages.map(idIn)).to.deep.equal(ids);
    expect(messages.map(({ id }) => id)).to.deep.equal(
      messages.map((message) => `fo-${idIn(message)}${message.data['body']}`),
    );
    expect(messages.map(({ data }) => data['estimated'])).to.deep.equal([500, 300, 200]);
    // None of the requests was sent.
    expect(messages.map(({ data }) => data['asked'])).to.deep.equal(Array(3).fill(undefined));
  });

  it('open: never exceeds the allowance, also concurrently', async () => {
    await start({ FAIL_MODE: 'open' });
    await api.connected();
    await server.down();
    const answers = await Promise.all(Array.from({ length: 50 }, () => admit({ estimated_tokens: 60 })));
    expect(answers.filter(({ status }) => status === 201).length).to.equal(16);
    expect(answers.filter(({ status }) => status === 503).length).to.equal(34);
    expect(await metric(api, 'weir_fail_open_tokens_total')).to.equal(960);
  });

  it('open: gives identical retries one admission, with the same id when they are decided', async () => {
    await start({ FAIL_MODE: 'open' });
    await api.connected();
    await server.down();
    const answers = await Promise.all(Array.from({ length: 10 }, () => admit({ request_id: 'r' })));
    expect(answers.map(({ status }) => status).sort()).to.deep.equal([...Array(9).fill(200), 201]);
    const ids = new Set(answers.map((answer) => answer.body['admission_id']));
    expect([ids.size, await unreported()]).to.deep.equal([1, 1]);
    const conflict = await admit({ request_id: 'r', priority: 'P0' });
    expect([conflict.status, conflict.body['code']]).to.deep.equal([422, 'idempotency_conflict']);
    await server.up();
    await reported();
    await api.connected();
    await admit({ request_id: 'r' });
    const messages = await admissionMessages(api);
    expect(messages.map(({ type }) => type)).to.deep.equal(['failed_open', 'admit']);
    expect(messages.map(idIn)).to.deep.equal(Array(2).fill([...ids][0]));
  });

  it('open: remembers no more than it may', async () => {
    await start({ FAIL_MODE: 'open', FAIL_OPEN_REPORTS_MAX: '3' });
    await api.connected();
    await server.down();
    const answers = await Promise.all(Array.from({ length: 5 }, () => admit({ estimated_tokens: 1 })));
    expect(answers.map(({ status }) => status).sort()).to.deep.equal([201, 201, 201, 503, 503]);
    expect(await unreported()).to.equal(3);
  });

  it('open: answers within its deadline while Redis hangs, and reports after the request itself', async () => {
    await start({ FAIL_MODE: 'open' });
    await api.connected();
    process.kill(server.pid, 'SIGSTOP');
    let answers: Answer[];
    let event: Promise<Answer>;
    try {
      // What is appended after this waits in the process: its report could overtake it.
      event = api.post('/event', flag('u'));
      await api.get('/health');
      const started = performance.now();
      answers = await Promise.all([admit({ request_id: 'r' }), api.post('/v1/evaluate', ask())]);
      expect(performance.now() - started).to.be.below(patient(600));
    } finally {
      process.kill(server.pid, 'SIGCONT');
    }
    expect((await event).status).to.equal(202);
    expectGiven(answers[0]!, 201);
    expect(answers[1]!.body).to.deep.equal({
      decision: 'ALLOW',
      context: { granted_tokens: 100, degraded: true, reason: 'store_unavailable' },
    });
    await reported();
    const messages = await admissionMessages(api);
    for (const type of ['admit', 'evaluate']) {
      const key = admissionKey(idIn(messages.find((message) => message.type === type)!));
      const same = messages.filter((message) => admissionKey(idIn(message)) === key);
      expect(same.map((message) => message.type)).to.deep.equal([type, 'failed_open']);
      expect(same[1]!.data['asked']).to.equal(idIn(same[0]!));
    }
  });

  it('open: admits before Redis was ever there, and reports when it comes', async () => {
    await server.down();
    await start({ FAIL_MODE: 'open' });
    const answer = await admit();
    expectGiven(answer, 201);
    await server.up();
    await reported();
    expect((await admissionMessages(api)).map(idIn)).to.deep.equal([answer.body['admission_id']]);
  });

  it('open: says of a report how long it waited, and charges one whole whose end may be forgotten', async () => {
    await start({ FAIL_MODE: 'open', ADMISSION_KEEP_SECONDS: '3', ADMISSION_DEDUPE_SECONDS: '1' });
    await api.connected();
    await server.down();
    const old = await admit();
    const givenAt = performance.now();
    await until(5000, 'its end may be forgotten', () => performance.now() - givenAt > 3000);
    const young = await admit();
    const youngAt = performance.now();
    await until(5000, 'it has waited', () => performance.now() - youngAt > 1000);
    const ids = [old, young].map((answer) => answer.body['admission_id']);
    await server.up();
    await reported();
    const messages = await admissionMessages(api);
    expect(messages.map(idIn)).to.deep.equal(ids);
    expect(messages.map(({ data }) => data['settled'])).to.deep.equal([true, false]);
    const waited = messages.map(({ data }) => Number(data['waitedMs']));
    expect(waited[0]).to.be.within(4000, performance.now() - givenAt + 1);
    expect(waited[1]).to.be.within(1000, performance.now() - youngAt + 1);
  });

  it('open: a store that is out of memory is away, too', async () => {
    await start({ FAIL_MODE: 'open' });
    await api.connected();
    await admit();
    const before = (await admissionMessages(api)).length;
    await api.redis.config('SET', 'maxmemory', 1);
    expectGiven(await admit(), 201);
    expect(await unreported()).to.equal(1);
    await api.redis.config('SET', 'maxmemory', 0);
    await reported();
    expect((await admissionMessages(api)).slice(before).map(({ type }) => type)).to.deep.equal([
      'failed_open',
    ]);
  });

  for (const mode of ['open', 'closed']) {
    it(`${mode}: answers 503 store_unavailable to what speaks of an admission`, async () => {
      await start({ FAIL_MODE: mode });
      await api.connected();
      await server.down();
      const path = '/admissions/0123456789abcdefa1234567';
      for (const answer of [
        await api.get(path),
        await api.post(`${path}/settle`, { actual_tokens: 1 }),
        await api.post(`${path}/cancel`),
      ]) {
        expect([answer.status, answer.body['code']]).to.deep.equal([503, 'store_unavailable']);
        expect(answer.headers.get('retry-after')).to.equal('1');
      }
    });
  }
});
