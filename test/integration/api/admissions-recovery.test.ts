import { expect } from 'chai';
import { Slots } from '../../../api/slots.js';
import { Keys } from '../../../shared/keys.js';
import { DEFAULT_TENANT } from '../../../shared/topics.js';
import type { HttpClient } from '../../support/http-client.js';
import { RedisServer, until } from '../../support/redis-server.js';
import { WeirFixture } from '../../support/weir-fixture.js';
import { ask, ONE_WINDOW } from './admissions-under-test.js';

/** Long enough for a worker of a machine that has other work to do. */
const SETTINGS = { ...ONE_WINDOW, ADMISSION_DEADLINE_MS: '1000' };

interface Use {
  readonly held: number;
  readonly settled: number;
}

interface Shown {
  readonly admission_id: string;
  readonly status: string;
  readonly attempts: number;
  readonly granted_tokens: number;
  readonly charged_tokens: number | null;
}

/** What is used of the root; every level of these tests is used alike. */
async function used(http: HttpClient): Promise<Use> {
  const { body } = await http.get<{ levels: (Use & { name: string })[] }>('/budget');
  const [root, pipeline] = ['global', 'ranking'].map((name) => {
    const { held, settled } = body.levels.find((level) => level.name === name)!;
    return { held, settled };
  });
  expect(pipeline).to.deep.equal(root);
  return root!;
}

/** Messages of budgets that no worker has folded. */
async function backlog({ redis, namespace }: WeirFixture): Promise<number> {
  const { keys } = new Slots(new Keys(namespace), 8).ofTenant(DEFAULT_TENANT);
  const [appended, folded] = await Promise.all([redis.get(keys.appended), redis.hget(keys.head, 'folded')]);
  return Number(appended ?? 0) - Number(folded ?? 0);
}

/** Waits until everything that was appended is folded, then until the use is what it is expected to be. */
async function expectUsed(weir: WeirFixture, use: Use): Promise<void> {
  await until(10_000, 'everything is reported and folded', async () => {
    const { text } = await weir.http.get('/metrics');
    return text.includes('weir_fail_open_unreported 0\n') && (await backlog(weir)) === 0;
  });
  expect(await used(weir.http)).to.deep.equal(use);
}

describe('api: admissions that nobody decided, once somebody can', () => {
  let weir: WeirFixture;

  afterEach(() => weir.close());

  const admit = (more: object = {}) => weir.http.post<Shown>('/admissions', ask(more));
  const worker = async (): Promise<void> => {
    await weir.worker();
    await weir.ready();
  };

  it('open: what was given without a worker is charged once, and goes on as any admission', async () => {
    weir = await WeirFixture.start({ settings: { ...SETTINGS, FAIL_MODE: 'open' }, workers: 0 });
    const [plain, keyed, retry, evaluated] = await Promise.all([
      admit(),
      admit({ request_id: 'r', estimated_tokens: 200 }),
      admit({ request_id: 'r', estimated_tokens: 200 }),
      weir.http.post('/v1/evaluate', ask({ estimated_tokens: 50 })),
    ]);
    expect([plain.status, evaluated.status]).to.deep.equal([201, 200]);
    expect([keyed.status, retry.status].sort()).to.deep.equal([200, 201]);
    expect(retry.body.admission_id).to.equal(keyed.body.admission_id);
    await worker();
    await expectUsed(weir, { held: 300, settled: 50 });

    const decided = await admit({ request_id: 'r', estimated_tokens: 200 });
    expect([decided.status, decided.body.admission_id]).to.deep.equal([200, keyed.body.admission_id]);
    expect([decided.body.status, decided.body.attempts]).to.deep.equal(['held', 3]);
    expect(await used(weir.http)).to.deep.equal({ held: 300, settled: 50 });
    const settled = await weir.http.post<Shown>(`/admissions/${plain.body.admission_id}/settle`, {
      actual_tokens: 70,
    });
    expect([settled.status, settled.body.status, settled.body.charged_tokens]).to.deep.equal([
      200,
      'settled',
      70,
    ]);
    const cancelled = await weir.http.post<Shown>(`/admissions/${keyed.body.admission_id}/cancel`);
    expect([cancelled.status, cancelled.body.status]).to.deep.equal([200, 'cancelled']);
    expect(await used(weir.http)).to.deep.equal({ held: 0, settled: 120 });
  });

  it('closed: what nobody heard of gives its tokens back; a retry gets what it had asked for', async () => {
    weir = await WeirFixture.start({ settings: { ...SETTINGS, FAIL_MODE: 'closed' }, workers: 0 });
    const refused = await Promise.all([
      ...[admit(), admit(), admit({ request_id: 'r', estimated_tokens: 200 })],
      weir.http.post('/v1/evaluate', ask({ estimated_tokens: 50 })),
    ]);
    expect(refused.map(({ status }) => status)).to.deep.equal([503, 503, 503, 503]);
    await worker();
    await expectUsed(weir, { held: 200, settled: 0 });
    const retry = await admit({ request_id: 'r', estimated_tokens: 200 });
    expect([retry.status, retry.body.status, retry.body.attempts]).to.deep.equal([200, 'held', 2]);
    expect(await used(weir.http)).to.deep.equal({ held: 200, settled: 0 });
  });

  it('answers while a worker is there as if nothing had been', async () => {
    weir = await WeirFixture.start({ settings: { ...SETTINGS, FAIL_MODE: 'open' } });
    const first = await admit({ request_id: 'r' });
    const retries = await Promise.all(Array.from({ length: 20 }, () => admit({ request_id: 'r' })));
    expect(first.status).to.equal(201);
    expect(new Set(retries.map(({ status, body }) => `${status} ${body.admission_id}`))).to.deep.equal(
      new Set([`200 ${first.body.admission_id}`]),
    );
    expect(retries.map(({ body }) => body.attempts).sort((a, b) => a - b)).to.deep.equal(
      Array.from({ length: 20 }, (_, i) => i + 2),
    );
    const shown = await weir.http.get<Shown>(`/admissions/${first.body.admission_id}`);
    expect([shown.status, shown.body.status, shown.body.attempts]).to.deep.equal([200, 'held', 21]);
    expect(await used(weir.http)).to.deep.equal({ held: 100, settled: 0 });
    const { text } = await weir.http.get('/metrics');
    expect(text).to.include('weir_fail_open_tokens_total 0\n');
  });

  describe('and Redis was away', () => {
    let server: RedisServer;

    beforeEach(async () => {
      server = await RedisServer.start();
    });
    afterEach(() => server.stop());

    const start = async (): Promise<void> => {
      const settings = { ...SETTINGS, FAIL_MODE: 'open', REDIS_COMMAND_TIMEOUT_MS: '300' };
      weir = await WeirFixture.start({ redisUrl: server.url, settings });
    };
    const redis = (state: string): Promise<void> =>
      until(10_000, `the API finds its Redis ${state}`, async () => {
        const { body } = await weir.http.get<{ checks: { redis: string } }>('/ready');
        return body.checks.redis === state;
      });

    it('what was given is charged when it is back, exactly once, and can be settled', async () => {
      await start();
      const before = await admit();
      expect(before.status).to.equal(201);
      await server.down();
      await redis('down');
      const plain = await admit();
      const keyed = await Promise.all(
        Array.from({ length: 5 }, () => admit({ request_id: 'r', estimated_tokens: 200 })),
      );
      await weir.http.post('/v1/evaluate', ask({ estimated_tokens: 50 }));
      expect(plain.status).to.equal(201);
      const [id, ...otherIds] = new Set(keyed.map(({ body }) => body.admission_id));
      expect(otherIds).to.deep.equal([]);
      await server.up();
      await weir.ready();
      await expectUsed(weir, { held: 400, settled: 50 });

      const retry = await admit({ request_id: 'r', estimated_tokens: 200 });
      expect([retry.status, retry.body.admission_id]).to.deep.equal([200, id]);
      const settled = await weir.http.post<Shown>(`/admissions/${id}/settle`, { actual_tokens: 10 });
      expect([settled.status, settled.body.charged_tokens]).to.deep.equal([200, 10]);
      expect(await used(weir.http)).to.deep.equal({ held: 200, settled: 60 });
    });

    it('a request that reached it all the same is charged once', async () => {
      await start();
      process.kill(server.pid, 'SIGSTOP');
      let ids: string[];
      try {
        const asked = [admit(), admit({ request_id: 'r', estimated_tokens: 200 })];
        const answers = await Promise.all(asked);
        expect(answers.map(({ status }) => status)).to.deep.equal([201, 201]);
        ids = answers.map(({ body }) => body.admission_id);
        await redis('down');
      } finally {
        process.kill(server.pid, 'SIGCONT');
      }
      await weir.ready();
      await expectUsed(weir, { held: 300, settled: 0 });
      for (const id of ids) {
        const shown = await weir.http.get<Shown>(`/admissions/${id}`);
        expect([shown.status, shown.body.admission_id, shown.body.status]).to.deep.equal([200, id, 'held']);
      }
    });
  });
});
