import { expect } from 'chai';
import { CuttableProxy } from '../../support/cuttable-proxy.js';
import { testRedis } from '../../support/hooks.js';
import type { Answer, HttpClient } from '../../support/http-client.js';
import { until } from '../../support/redis-server.js';
import { WeirFixture } from '../../support/weir-fixture.js';
import { ask, ONE_WINDOW } from './admissions-under-test.js';

const SETTINGS = { ...ONE_WINDOW, FAIL_MODE: 'open', REPLY_DEADLINE_MS: '500' };
const TOKENS = 5000;

interface Shown {
  readonly admission_id: string;
  readonly status: string;
  readonly charged_tokens: number | null;
  readonly code: string;
  readonly reason: string;
  readonly context: object;
}

describe('api: the end of an admission comes before its beginning', () => {
  let weir: WeirFixture;
  let proxy: CuttableProxy;
  let cutOff: HttpClient;
  let other: HttpClient;

  const start = async (workers: number): Promise<void> => {
    weir = await WeirFixture.start({ settings: SETTINGS, workers });
    other = weir.http;
    proxy = await CuttableProxy.start(testRedis().url);
    weir.onClose(() => proxy.close());
    cutOff = await weir.api({ REDIS_URL: proxy.url });
    proxy.cut();
    await until(5000, 'the API has lost its Redis', async () => {
      const { body } = await cutOff.get<{ checks: { redis: string } }>('/ready');
      return body.checks.redis === 'down';
    });
  };
  afterEach(() => weir.close());

  const give = async (more: object = {}, by = cutOff): Promise<string> => {
    const { status, body } = await by.post<Shown>('/admissions', ask({ estimated_tokens: TOKENS, ...more }));
    const { admission_id, context } = body;
    expect([status, context, admission_id[16]]).to.deep.equal([
      ...[201, { degraded: true, reason: 'store_unavailable' }, 'o'],
    ]);
    return admission_id;
  };
  const settle = (id: string, actual_tokens: number): Promise<Answer<Shown>> =>
    other.post<Shown>(`/admissions/${id}/settle`, { actual_tokens });
  const cancel = (id: string): Promise<Answer<Shown>> => other.post<Shown>(`/admissions/${id}/cancel`);
  const get = (id: string): Promise<Answer<Shown>> => other.get<Shown>(`/admissions/${id}`);
  const mend = async (): Promise<void> => {
    proxy.mend();
    await until(10_000, 'everything is reported', async () =>
      (await cutOff.get('/metrics')).text.includes('weir_fail_open_unreported 0\n'),
    );
  };
  const expectEnded = async (id: string, status: string, charged: number): Promise<void> => {
    let last: unknown;
    await until(10_000, `${status}, charged ${charged}`, async () => {
      const { body } = await get(id);
      last = [body.status, body.charged_tokens];
      return body.status === status;
    }).catch(() => undefined);
    expect(last).to.deep.equal([status, charged]);
  };
  const expectUsed = async (settled: number): Promise<void> => {
    const { body } = await other.get<{ levels: { name: string; held: number; settled: number }[] }>(
      '/budget',
    );
    expect(body.levels.find(({ name }) => name === 'global')).to.include({ held: 0, settled });
  };

  it('while no worker is there: it is charged what was settled', async () => {
    await start(0);
    const [settled, cancelled] = [await give(), await give()];
    expect((await settle(settled, TOKENS)).status).to.equal(202);
    expect((await cancel(cancelled)).status).to.equal(202);
    await mend();
    await weir.worker();
    await expectEnded(settled, 'settled', TOKENS);
    await expectEnded(cancelled, 'cancelled', 0);
    await expectUsed(TOKENS);
  });

  it('while workers are: it is kept without a promise, and is what was said first', async () => {
    await start(1);
    const [settled, cancelled] = [await give(), await give()];
    const expectUnreported = ({ status, body }: Answer<Shown>): void => {
      expect([status, body.code, body.reason]).to.deep.equal([503, 'undecided', 'unreported']);
    };
    for (const answer of [
      ...[await get(settled), await settle(settled, 4000), await settle(settled, 4000)],
      ...[await cancel(cancelled), await cancel(cancelled), await get(cancelled)],
    ]) {
      expectUnreported(answer);
    }
    for (const [answer, id] of [
      ...([
        [await settle(settled, 4001), settled],
        [await cancel(settled), settled],
        [await settle(cancelled, 0), cancelled],
      ] as const),
    ]) {
      const { code, admission_id } = answer.body;
      expect([answer.status, code, admission_id]).to.deep.equal([409, 'admission_over', id]);
    }
    await expectUsed(0);
    await mend();
    await expectEnded(settled, 'settled', 4000);
    await expectEnded(cancelled, 'cancelled', 0);
    await expectUsed(4000);
    expect((await settle(settled, 4000)).status).to.equal(200);
    expect((await settle(settled, 4001)).status).to.equal(409);
  });

  it('of a request that two processes gave: it is one admission, ended by the id of either', async () => {
    for (const ends of [[0], [1], [0, 1]]) {
      await start(0);
      proxy.mend();
      const second = await weir.api({ REDIS_URL: proxy.url });
      proxy.cut();
      const request = { request_id: 'r', hold_seconds: 60 };
      const ids: string[] = [];
      for (const by of [cutOff, second]) {
        await until(5000, 'the API has lost its Redis', async () => {
          const { body } = await by.get<{ checks: { redis: string } }>('/ready');
          return body.checks.redis === 'down';
        });
        ids.push(await give(request, by));
      }
      for (const n of ends) expect((await settle(ids[n]!, 70)).status).to.equal(202);
      await mend();
      await until(10_000, 'everything is reported', async () =>
        (await second.get('/metrics')).text.includes('weir_fail_open_unreported 0\n'),
      );
      await weir.worker();
      for (const id of ids) await expectEnded(id, 'settled', 70);
      await expectUsed(70);
      await weir.close();
    }
  });

  it('answers 404 to an id that a worker gives and nobody knows, and to one given long ago', async () => {
    await start(1);
    const [byWorker, longAgo] = ['0123456789abcdefa1234567', `0123456789abcdefo${minuteOf(-2)}abc`];
    for (const id of [byWorker, longAgo]) {
      for (const answer of [await settle(id, 1), await cancel(id), await get(id)]) {
        expect([answer.status, answer.body.code]).to.deep.equal([404, 'admission_not_found']);
      }
    }
  });
});

/** As ids say it: hours from now. */
function minuteOf(hours: number): string {
  const minute = Buffer.alloc(3);
  minute.writeUIntBE((Math.floor(Date.now() / 60_000) + hours * 60) % 2 ** 24, 0, 3);
  return minute.toString('base64url');
}
