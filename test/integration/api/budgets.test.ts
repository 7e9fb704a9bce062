import { expect } from 'chai';
import { budgetDocument } from '../../../shared/keys.js';
import { encodeBudget } from '../../../shared/state/budget-codec.js';
import { type BudgetConfig, DEFAULT_BUDGETS, type LevelConfig } from '../../../shared/state/budget-config.js';
import type { BudgetState, BudgetWindow, LevelUse } from '../../../shared/state/budget-state.js';
import { type Answer, ApiUnderTest } from './api-under-test.js';

const HOUR_MS = 3_600_000;
const iso = (ms: number): string => new Date(ms).toISOString();
const unused: LevelUse = { settled: 0, held: 0, admitted: 0, degraded: 0, refused: 0, limit: null };
const [root] = DEFAULT_BUDGETS.levels as [LevelConfig];

describe('api: GET /budget and GET /budgets', () => {
  let api: ApiUnderTest;

  before(async () => {
    api = await (await ApiUnderTest.start({ BUDGET_WINDOW_SECONDS: '3600' })).connected();
  });
  after(() => api.close());

  const get = (path: string, tenant?: string): Promise<Answer> =>
    api.request('GET', path, undefined, tenant === undefined ? {} : { 'x-tenant-id': tenant });

  /** What a worker would have left of a tenant. */
  async function write(tenant: string, more: Partial<BudgetState>): Promise<void> {
    const ended = { lastEnd: 0, pastHolds: 0, keepUntil: 0 };
    const state = { owner: undefined, config: null, epoch: 1, entries: 9, ...ended, window: null, ...more };
    await api.redis.set(api.slots.ofTenant(tenant).keys.doc(budgetDocument(tenant)), encodeBudget(state));
  }

  async function redisNow(): Promise<number> {
    const [seconds, micros] = (await api.redis.time()).map(Number) as [number, number];
    return seconds * 1000 + Math.floor(micros / 1000);
  }

  const windowOf = (start: number, end: number, uses: Readonly<Record<string, Partial<LevelUse>>>) => ({
    ...{ start, end, holds: 1, refundable: 0, entries: 3 },
    levels: new Map(Object.entries(uses).map(([name, use]) => [name, { ...unused, ...use }])),
  });

  /** A window that is open for an hour at least. */
  async function openWindow(uses: Readonly<Record<string, Partial<LevelUse>>>): Promise<BudgetWindow> {
    const now = await redisNow();
    return windowOf(now - 1000, now + HOUR_MS, uses);
  }

  interface LevelView {
    readonly name: string;
    readonly settled: number;
    readonly held: number;
    readonly available: Readonly<Record<string, number>>;
  }
  const levelsOf = ({ body }: Answer): readonly LevelView[] => body['levels'] as LevelView[];

  it('shows the defaults, unused, of a tenant that nobody has heard of', async () => {
    const before = await redisNow();
    const { status, body } = await get('/budget', 'nobody');
    expect(status).to.equal(200);
    const asOf = Date.parse(body['as_of'] as string);
    expect(asOf).to.be.within(before, await redisNow());
    const none = { settled: 0, held: 0, requests: { admitted: 0, degraded: 0, refused: 0 } };
    const third = {
      ...{ limit: 350_000, available: { P0: 525_000, P1: 332_500, P2: 332_500 } },
      ...{ soft_limit: 297_500, hard_limit: 332_500, p0_limit: 525_000, parent: 'global', ...none },
    };
    expect(body).to.deep.equal({
      ...{ tenant: 'nobody', version: 0, as_of: iso(asOf), max_request_tokens: 100_000 },
      window: {
        seconds: 3600,
        started_at: null,
        resets_at: iso((Math.floor(asOf / HOUR_MS) + 1) * HOUR_MS),
      },
      levels: [
        {
          ...{ name: 'global', parent: null, limit: 1_000_000, ...none },
          available: { P0: 1_500_000, P1: 950_000, P2: 950_000 },
          ...{ soft_limit: 850_000, hard_limit: 950_000, p0_limit: 1_500_000 },
        },
        { name: 'monitoring', ...third },
        { name: 'enrichment', ...third },
        {
          ...{ name: 'ranking', parent: 'global', limit: 300_000, ...none },
          available: { P0: 450_000, P1: 285_000, P2: 285_000 },
          ...{ soft_limit: 255_000, hard_limit: 285_000, p0_limit: 450_000 },
        },
      ],
    });
  });

  it('shows what is settled and held in the open window, and never less than nothing available', async () => {
    const window = await openWindow({
      global: { settled: 900_000, held: 100_000, admitted: 7, degraded: 2, refused: 1 },
      ranking: { settled: 1 },
    });
    await write('used', { window });
    const answer = await get('/budget', 'used');
    expect(answer.body['window']).to.deep.equal({
      ...{ seconds: 3600, started_at: iso(window.start), resets_at: iso(window.end) },
    });
    const [global, monitoring, , ranking] = levelsOf(answer);
    expect(global).to.deep.include({
      ...{ settled: 900_000, held: 100_000, requests: { admitted: 7, degraded: 2, refused: 1 } },
      available: { P0: 500_000, P1: 0, P2: 0 },
    });
    expect(monitoring).to.deep.include({ settled: 0, held: 0 });
    expect(ranking).to.deep.include({ settled: 1, available: { P0: 449_999, P1: 284_999, P2: 284_999 } });
  });

  it('shows zeros and the next reset of a window that is over by the clock of Redis, whatever its timer', async () => {
    const now = await redisNow();
    const config: BudgetConfig = { ...DEFAULT_BUDGETS, version: 3, appliedAt: 5, windowMs: 86_400_000 };
    await write('over', {
      config,
      window: windowOf(now - 2000, now - 1, { global: { settled: 5, held: 6 } }),
    });
    const answer = await get('/budget', 'over');
    const asOf = Date.parse(answer.body['as_of'] as string);
    expect(answer.body['window']).to.deep.equal({
      ...{ seconds: 86_400, started_at: null },
      resets_at: iso((Math.floor(asOf / 86_400_000) + 1) * 86_400_000),
    });
    expect(levelsOf(answer)[0]).to.deep.include({ settled: 0, held: 0 });
    expect(answer.body['version']).to.equal(3);
  });

  it('counts a fraction of a token as none, and shows the limits of P2 where it has its own', async () => {
    const level = {
      ...root,
      limit: 999,
      soft: 333_333,
      hard: 500_001,
      p2Soft: 0,
      p2Hard: 100_100,
      p0: 999_999,
    };
    const config = {
      ...DEFAULT_BUDGETS,
      levels: [level, { ...level, name: 'a', parent: 'global', p2Soft: null }],
    };
    await write('small', { config, window: await openWindow({ global: { held: 98 } }) });
    const [global, a] = levelsOf(await get('/budget', 'small'));
    expect(global).to.deep.include({
      ...{ soft_limit: 332, hard_limit: 499, p2_soft_limit: 0, p2_hard_limit: 99, p0_limit: 998 },
      available: { P0: 900, P1: 401, P2: 1 },
    });
    expect(a).to.deep.include({ p2_hard_limit: 99 }).and.not.to.have.property('p2_soft_limit');
  });

  it('shows the root and one pipeline where one is asked for', async () => {
    const answer = await get('/budget?pipeline=ranking', 'nobody');
    expect(levelsOf(answer).map(({ name }) => name)).to.deep.equal(['global', 'ranking']);
  });

  for (const pipeline of ['nothing', 'global', '__proto__']) {
    it(`answers 400 unknown_pipeline to ${pipeline}, with those there are`, async () => {
      const { status, body } = await get(`/budget?pipeline=${pipeline}`);
      expect([status, body['code']]).to.deep.equal([400, 'unknown_pipeline']);
      expect(body['pipelines']).to.deep.equal(['monitoring', 'enrichment', 'ranking']);
    });
  }

  it('takes __proto__, constructor and toString for the names of levels that they are', async () => {
    const names = ['__proto__', 'constructor', 'toString'];
    const levels = names.map((name, i) => ({ ...root, name, parent: i === 0 ? null : names[i - 1]! }));
    const uses = new Map(names.map((name, i) => [name, { ...unused, held: i + 1 }]));
    const window = { ...(await openWindow({})), levels: uses };
    await write('proto', { config: { ...DEFAULT_BUDGETS, levels }, window });
    const shown = levelsOf(await get('/budget?pipeline=constructor', 'proto'));
    expect(shown.map(({ name, held }) => [name, held])).to.deep.equal([
      ['__proto__', 1],
      ['constructor', 2],
    ]);
    expect(levelsOf(await get('/budgets', 'proto')).map(({ name }) => name)).to.deep.equal(names);
  });

  it('shows the configuration as people write it', async () => {
    const levels = [
      root,
      { ...root, name: 'a', parent: 'global', limit: 5, p2Soft: 123_456, p2Hard: 850_000 },
    ];
    const config = {
      ...{ version: 7, appliedAt: 1_700_000_000_000, windowMs: 60_000 },
      ...{ maxRequestShare: 1, degradedDebit: 1_000_000, levels },
    };
    await write('written', { config });
    const written = { soft_threshold: 0.85, hard_threshold: 0.95, p0_threshold: 1.5 };
    expect((await get('/budgets', 'written')).body).to.deep.equal({
      ...{ tenant: 'written', version: 7, applied_at: '2023-11-14T22:13:20.000Z', window_seconds: 60 },
      ...{ max_request_share: 0.000001, degraded_debit: 1 },
      levels: [
        { name: 'global', parent: null, limit: 1_000_000, ...written },
        {
          ...{ name: 'a', parent: 'global', limit: 5, ...written },
          ...{ p2_soft_threshold: 0.123456, p2_hard_threshold: 0.85 },
        },
      ],
    });
  });

  it('shows the defaults as version 0, which nobody applied', async () => {
    const { body } = await get('/budgets', 'nobody');
    expect(body).to.deep.include({
      ...{ tenant: 'nobody', version: 0, applied_at: null, window_seconds: null },
      ...{ max_request_share: 0.1, degraded_debit: 0.5 },
    });
    expect(body['levels']).to.have.length(4);
  });

  it('is about tenant default where no tenant is named, and shows no other', async () => {
    await write('mine', { window: await openWindow({ global: { settled: 77 } }) });
    expect((await get('/budget')).body['tenant']).to.equal('default');
    expect((await get('/budgets')).body['tenant']).to.equal('default');
    expect(levelsOf(await get('/budget'))[0]).to.include({ settled: 0 });
    expect(levelsOf(await get('/budget', 'mine'))[0]).to.include({ settled: 77 });
  });

  for (const path of ['/budget', '/budgets', '/budgets/versions']) {
    it(`answers 422 to ${path} for a tenant that is none, and for parameters that are not known`, async () => {
      for (const tenant of ['a b', 'x'.repeat(65), 'a,b']) {
        const { status, body } = await get(path, tenant);
        expect([status, body['code'], body['errors']]).to.deep.equal([
          422,
          'invalid_request',
          [{ path: 'X-Tenant-Id', message: 'must be 1 to 64 of A-Z, a-z, 0-9, _ and -' }],
        ]);
      }
      expect((await get(`${path}?x=1`)).status).to.equal(422);
    });
  }

  for (const query of ['pipeline=', 'pipeline=a&pipeline=b', `pipeline=${'x'.repeat(129)}`, 'pipeline=%00']) {
    it(`answers 422 to /budget?${query.slice(0, 30)}`, async () => {
      expect((await get(`/budget?${query}`)).status).to.equal(422);
    });
  }

  it('answers 405 with the methods there are', async () => {
    const answer = await api.request('DELETE', '/budgets');
    expect([answer.status, answer.headers.get('allow')]).to.deep.equal([405, 'GET, HEAD, PUT, OPTIONS']);
  });

  it('answers 503 for a document that a newer version wrote', async () => {
    await api.redis.set(api.slots.ofTenant('newer').keys.doc(budgetDocument('newer')), '{"v":99}');
    for (const path of ['/budget', '/budgets']) {
      const { status, body } = await get(path, 'newer');
      expect([status, body['code']]).to.deep.equal([503, 'store_unavailable']);
    }
  });
});
