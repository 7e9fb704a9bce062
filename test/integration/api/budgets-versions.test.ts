import { expect } from 'chai';
import { until } from '../../support/redis-server.js';
import { WeirFixture } from '../../support/weir-fixture.js';
import { UsageStores } from '../usage-queries/usage-stores.js';
import { ApiUnderTest } from './api-under-test.js';

interface VersionsView {
  readonly versions: readonly Readonly<Record<string, unknown>>[];
  readonly next_cursor: string | null;
}

const body = (n: number, actor = 'ann') => ({
  ...{ actor, reason: `change ${n}`, window_seconds: n },
  levels: [
    { name: 'all', limit: n },
    { name: '__proto__', parent: 'all', limit: n, p2_soft_threshold: 0.123456 },
  ],
});

describe('api: GET /budgets/versions', () => {
  let weir: WeirFixture;

  before(async () => {
    weir = await WeirFixture.start({
      postgres: true,
      settings: { ARCHIVE_DELAY_MS: '0', REPLY_DEADLINE_MS: '10000' },
    });
  });
  after(() => weir.close());

  const put = (tenant: string, given: object) =>
    weir.http.send<Record<string, unknown>>('PUT', '/budgets', given, { 'x-tenant-id': tenant });
  async function versions(tenant: string, query = ''): Promise<VersionsView> {
    const path = `/budgets/versions${query}`;
    const headers = { 'x-tenant-id': tenant };
    const answer = await weir.http.send<VersionsView>('GET', path, undefined, headers);
    expect(answer.status, answer.text).to.equal(200);
    return answer.body;
  }
  const arrived = (tenant: string, count: number) =>
    until(10_000, `${count} versions are in Postgres`, async () => {
      return (await versions(tenant, '?limit=100')).versions.length === count;
    });

  it('shows who changed what and why, the newest first', async () => {
    const applied = [await put('acme', body(1)), await put('acme', body(2, 'bob'))];
    await arrived('acme', 2);
    const page = await versions('acme');
    expect(page.next_cursor).to.equal(null);
    expect(await versions('acme', '?limit=2')).to.deep.equal(page);
    const expected = applied.reverse().map((answer, i) => {
      const { status: _, tenant: __, ...configuration } = answer.body;
      return { ...configuration, actor: i === 0 ? 'bob' : 'ann', reason: `change ${2 - i}` };
    });
    expect(page.versions).to.deep.equal(expected);
  });

  it('shows tenant default the defaults that it was seeded with', async () => {
    await arrived('default', 1);
    const [seed] = (await versions('default')).versions;
    expect(seed).to.deep.include({ version: 1, applied_at: null, actor: 'weir', reason: 'defaults' });
    expect(seed!['levels']).to.have.length(4);
  });

  it('shows a tenant nothing of another, and nothing of one that has changed nothing', async () => {
    await put('globex', body(7));
    await arrived('globex', 1);
    expect((await versions('globex')).versions[0]).to.include({ reason: 'change 7' });
    expect(await versions('initech')).to.deep.equal({ versions: [], next_cursor: null });
  });

  it('pages through all of them; what is applied meanwhile moves nothing', async () => {
    for (let n = 1; n <= 5; n++) await put('pages', body(n));
    await arrived('pages', 5);
    const seen: unknown[] = [];
    let query = '?limit=2';
    for (let page = 0; page < 3; page++) {
      const { versions: shown, next_cursor: next } = await versions('pages', query);
      seen.push(...shown.map(({ version }) => version));
      expect(next === null).to.equal(page === 2);
      query = `?limit=2&cursor=${next}`;
      await put('pages', body(10 + page));
      await arrived('pages', 6 + page);
    }
    expect(seen).to.deep.equal([5, 4, 3, 2, 1]);
  });

  for (const query of ['limit=0', 'limit=101', 'limit=x', 'cursor=', 'cursor=abc', 'cursor=MS4yLjM', 'x=1']) {
    it(`answers 422 to ?${query}`, async () => {
      const { status } = await weir.http.get(`/budgets/versions?${query}`);
      expect(status).to.equal(422);
    });
  }
});

describe('api: GET /budgets/versions without Postgres', () => {
  it('answers 503 where there is no DATABASE_URL', async () => {
    const api = await ApiUnderTest.start();
    try {
      const { status, body: problem } = await api.get('/budgets/versions');
      expect([status, problem['code']]).to.deep.equal([503, 'store_unavailable']);
      expect(problem['detail']).to.include('DATABASE_URL');
    } finally {
      await api.close();
    }
  });

  it('answers 503 while Postgres is away, where GET /budgets goes on, and recovers by itself', async () => {
    const stores = await UsageStores.start();
    try {
      await stores.lockOut();
      const { status, body: problem } = await stores.get('/budgets/versions');
      expect([status, problem['code']]).to.deep.equal([503, 'store_unavailable']);
      expect((await stores.get('/budgets')).status).to.equal(200);
      await stores.letIn();
      await until(5000, 'it recovers', async () => (await stores.get('/budgets/versions')).status === 200);
    } finally {
      await stores.close();
    }
  });
});
