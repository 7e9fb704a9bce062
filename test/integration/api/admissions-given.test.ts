import { expect } from 'chai';
import { until } from '../../support/redis-server.js';
import { admission, admissionMessages, answered, ask, idIn, ONE_WINDOW } from './admissions-under-test.js';
import { type Answer, ApiUnderTest } from './api-under-test.js';

const DEADLINE_MS = 1000;

describe('api: admissions that were given undecided', () => {
  let api: ApiUnderTest;

  const start = async (settings: Readonly<Record<string, string>> = {}): Promise<void> => {
    const open = { FAIL_MODE: 'open', ADMISSION_DEADLINE_MS: String(DEADLINE_MS) };
    api = await (await ApiUnderTest.start({ ...ONE_WINDOW, ...open, ...settings })).connected();
  };
  afterEach(() => api.close());

  const admit = (more: object = {}): Promise<Answer> => api.post('/admissions', ask(more));
  const given = async (answer: Promise<Answer>): Promise<string> => {
    const { status, body } = await answer;
    expect([status, (body['context'] as { degraded?: boolean } | undefined)?.degraded]).to.deep.equal([
      201,
      true,
    ]);
    return String(body['admission_id']);
  };
  /** The next call, answered by a worker. */
  const decided = async (call: () => Promise<Answer>, reply: object): Promise<Answer> => {
    const seen = await admissionMessages(api);
    return answered(api, call(), () => reply, seen);
  };
  const expectProblem = (answer: Answer, status: number, code: string, retryable: boolean): void => {
    expect([answer.status, answer.body['code'], answer.body['retryable']]).to.deep.equal([
      ...[status, code, retryable],
    ]);
  };

  it('are other ones after the dedupe time', async () => {
    await start({ ADMISSION_DEDUPE_SECONDS: '3', ADMISSION_DEADLINE_MS: '100' });
    const first = await given(admit({ request_id: 'r' }));
    const answeredAt = Date.now();
    expect((await admit({ request_id: 'r' })).body['admission_id']).to.equal(first);
    await until(5000, 'the dedupe time is over', () => Date.now() > answeredAt + 3000);
    expect(await given(admit({ request_id: 'r' }))).not.to.equal(first);
    const asked = (await admissionMessages(api)).filter(({ type }) => type === 'admit').map(idIn);
    expect([new Set(asked).size, asked[1]]).to.deep.equal([3, first]);
  });

  for (const [what, reply] of [
    ['admits it', { kind: 'admitted', fresh: false, remaining: [] }],
    ['says that it is over', { kind: 'over' }],
  ] as const) {
    it(`are not answered from memory once a worker ${what}`, async () => {
      await start();
      const first = await given(admit({ request_id: 'r' }));
      await decided(() => admit({ request_id: 'r' }), { ...reply, admission: admission(first) });
      expect(await given(admit({ request_id: 'r' }))).not.to.equal(first);
    });
  }

  for (const end of ['settle', 'cancel']) {
    it(`are not answered from memory after a ${end}`, async () => {
      await start();
      const first = await given(admit({ request_id: 'r' }));
      const call = (): Promise<Answer> => api.post(`/admissions/${first}/${end}`, bodyOf(end));
      const ended = { kind: 'ended', admission: admission(first, { status: 'settled' }) };
      expect((await decided(call, ended)).status).to.equal(200);
      expect(await given(admit({ request_id: 'r' }))).not.to.equal(first);
    });
  }

  it('are not unknown for as long as their report may be under way, in no process', async () => {
    await start();
    const id = await given(admit());
    const notFound = { kind: 'not_found' };
    const settle = (): Promise<Answer> => api.post(`/admissions/${id}/settle`, bodyOf('settle'));
    const cancel = (): Promise<Answer> => api.post(`/admissions/${id}/cancel`);
    expectProblem(await api.get(`/admissions/${id}`), 503, 'undecided', true);
    expectProblem(await decided(settle, notFound), 503, 'undecided', true);
    expectProblem(await decided(cancel, notFound), 503, 'undecided', true);
  });

  it('say by their id that they may not be known, and are told of with the id they were sent with', async () => {
    await start({ BACKLOG_MAX: '2', ADMISSION_DEADLINE_MS: '100' });
    const ids = [await given(admit()), await given(admit())];
    expect(ids.map((id) => id[16])).to.deep.equal(['o', 'o']);
    await until(2000, 'they are reported', async () => (await admissionMessages(api)).length === 3);
    const messages = await admissionMessages(api);
    expect(messages.map(({ type }) => type)).to.deep.equal(['admit', 'failed_open', 'failed_open']);
    expect(messages.slice(1).map(({ data }) => [data['admission'], data['asked']])).to.deep.equal([
      [ids[0], idIn(messages[0]!)],
      // It is not in the stream.
      [ids[1], undefined],
    ]);
  });

  it('are decided after all by a reply that is being read at the deadline', async () => {
    await start({ ADMISSION_DEADLINE_MS: '4000', REDIS_COMMAND_TIMEOUT_MS: '10000' });
    const begun = performance.now();
    const call = admit();
    const asked = async (): Promise<boolean> => (await admissionMessages(api)).length > 0;
    await until(2000, 'the request is in the stream', asked);
    const [message] = await admissionMessages(api);
    const reply = { kind: 'admitted', fresh: true, admission: admission(idIn(message!)), remaining: [] };
    const { keys } = api.slots.ofTenant('default');
    await api.redis.set(keys.reply(message!.reply!.split('/')[1]!), JSON.stringify(reply));
    // Every read of it hangs from the first on, and ends between the last look and the deadline.
    await api.redis.client('PAUSE', Math.floor(begun + 3750 - performance.now()), 'ALL');
    const answer = await call;
    expect([answer.status, answer.body['context']]).to.deep.equal([201, undefined]);
  });
});

function bodyOf(end: string): object | undefined {
  return end === 'settle' ? { actual_tokens: 70 } : undefined;
}
