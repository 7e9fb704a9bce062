import { expect } from 'chai';
import { testNamespace, testRedis } from '../../support/hooks.js';
import { until } from '../../support/redis-server.js';
import { stall } from '../../support/stall.js';
import { WorkerProcess } from '../../support/worker-process.js';
import { ask, metric, ONE_WINDOW } from './admissions-under-test.js';
import { type Answer, ApiUnderTest } from './api-under-test.js';

const LIMIT = 1000;
const TOKENS = 100;
/** Longer than the deadline of an admission and the timeout of a command together. */
const STALL_MS = 1100;
const ROUNDS = 4;
const CALLERS = 40;

const EXACT = { soft_threshold: 1, hard_threshold: 1, p0_threshold: 1 } as const;
const BUDGETS = {
  ...{ actor: 'test', reason: 'fits ten', max_request_share: 1 },
  levels: [
    { name: 'global', parent: null, limit: LIMIT, ...EXACT },
    { name: 'ranking', parent: 'global', limit: LIMIT, ...EXACT },
  ],
};

describe('api: its own stalls', () => {
  let api: ApiUnderTest;
  let worker: WorkerProcess;

  beforeEach(async function () {
    this.timeout(60_000);
    const settings = { ...ONE_WINDOW, FAIL_MODE: 'open', LOG_LEVEL: 'silent', PARTITIONS: '4' };
    const place = { REDIS_URL: testRedis().url, WEIR_NAMESPACE: testNamespace() };
    // The worker is another process: it decides while the API does not turn.
    worker = await WorkerProcess.start({ ...settings, ...place });
    api = await (
      await ApiUnderTest.start({
        ...settings,
        ...place,
        REDIS_COMMAND_TIMEOUT_MS: '500',
        REPLY_DEADLINE_MS: '300',
      })
    ).connected();
    await until(15_000, 'the budgets apply', async () => {
      return (await api.request('PUT', '/budgets', BUDGETS)).status === 200;
    });
  });
  afterEach(async () => {
    await worker?.end('SIGKILL');
    await api?.close();
  });

  /** So many calls at once, while the event loop is blocked again and again. */
  const whileStalled = async (calls: readonly (() => Promise<Answer>)[]): Promise<Answer[]> => {
    const answers: Promise<Answer>[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      const share = calls.slice((round * calls.length) / ROUNDS, ((round + 1) * calls.length) / ROUNDS);
      answers.push(...share.map((call) => call()));
      // A little further on their way each time: read, appended, decided.
      for (let turns = 0; turns <= 2 * round; turns++) await new Promise((resolve) => setTimeout(resolve, 1));
      stall(STALL_MS);
    }
    return Promise.all(answers);
  };

  it('give nothing away: every caller gets the decision of the worker, and the budget holds', async function () {
    this.timeout(60_000);
    const calls = Array.from(
      { length: CALLERS * ROUNDS },
      (_, n) => () =>
        api.post(
          '/admissions',
          ask({ estimated_tokens: TOKENS, ...(n % 2 === 0 ? { request_id: `r${n}` } : {}) }),
        ),
    );
    const answers = await whileStalled(calls);
    const told = answers.map(({ status, body }) => `${status} ${body['code'] ?? body['decision']}`);
    expect(told.filter((each) => each === '201 ALLOW').length).to.equal(LIMIT / TOKENS);
    expect(told.filter((each) => each === '429 budget_exhausted').length).to.equal(
      calls.length - LIMIT / TOKENS,
    );
    expect(await metric(api, 'weir_fail_open_tokens_total')).to.equal(0);
  });

  it('break no promise: settles are answered, reads find their store', async function () {
    this.timeout(60_000);
    const made = await Promise.all(
      Array.from({ length: 8 }, () => api.post('/admissions', ask({ estimated_tokens: TOKENS }))),
    );
    const ids = made.map(({ body }) => String(body['admission_id']));
    const calls = ids.flatMap((id) => [
      () => api.post(`/admissions/${id}/settle`, { actual_tokens: 50 }),
      () => api.get(`/admissions/${id}`),
      () => api.get('/canmessage?user_id=u'),
    ]);
    const answers = await whileStalled(calls);
    expect(answers.map(({ status }) => status)).to.deep.equal(calls.map(() => 200));
  });
});
