import { expect } from 'chai';
import type { Answer } from '../../support/http-client.js';
import { until } from '../../support/redis-server.js';
import { WeirFixture } from '../../support/weir-fixture.js';

type Body = Readonly<Record<string, unknown>>;
interface LevelView {
  readonly name: string;
  readonly limit: number;
  readonly settled: number;
  readonly available: Readonly<Record<string, number>>;
}

/** No window ends while a test looks at it. */
const LONG_WINDOW = { BUDGET_WINDOW_SECONDS: String(31 * 86_400) };
/** A machine with other work to do is no reason for an answer that nobody decided. */
const PATIENT = { ADMISSION_DEADLINE_MS: '10000', REPLY_DEADLINE_MS: '10000', FAIL_MODE: 'closed' };
const DAY_MS = 86_400_000;
const who = { actor: 'ann', reason: 'test' };
const levels = (limit: number) => [
  { name: 'global', limit },
  { name: 'a', parent: 'global', limit },
];

describe('api: PUT /budgets, applied by a worker', () => {
  let weir: WeirFixture;

  before(async () => {
    weir = await WeirFixture.start({ settings: { ...LONG_WINDOW, ...PATIENT } });
  });
  after(() => weir.close());

  const send = (tenant: string, method: string, path: string, body?: unknown): Promise<Answer<Body>> =>
    weir.http.send<Body>(method, path, body, { 'x-tenant-id': tenant });
  const put = (tenant: string, body: Body): Promise<Answer<Body>> =>
    send(tenant, 'PUT', '/budgets', { ...who, ...body });

  async function spend(tenant: string, tokens: number, pipeline = 'a'): Promise<unknown> {
    const body = { pipeline, priority: 'P1', estimated_tokens: tokens };
    return (await send(tenant, 'POST', '/v1/evaluate', body)).body['decision'];
  }

  async function level(tenant: string, name: string): Promise<LevelView> {
    const { body } = await send(tenant, 'GET', '/budget');
    return (body['levels'] as readonly LevelView[]).find((each) => each.name === name)!;
  }

  it('answers 200 with what applies now, which GET /budgets then shows; versions count', async () => {
    const started = Date.now();
    const first = await put('counts', { levels: levels(1000) });
    expect(first.status).to.equal(200);
    expect(first.body).to.deep.include({ status: 'applied', tenant: 'counts', version: 1 });
    expect(Date.parse(first.body['applied_at'] as string)).to.be.within(started - 1000, Date.now() + 1000);
    const second = await put('counts', { levels: levels(2000), window_seconds: 60, version: 1 });
    expect([second.status, second.body['version']]).to.deep.equal([200, 2]);
    const { status, ...applied } = second.body;
    expect(status).to.equal('applied');
    expect((await send('counts', 'GET', '/budgets')).body).to.deep.equal(applied);
  });

  it('answers 409 to a body that replaces another version, and changes nothing', async () => {
    await put('conflict', { levels: levels(1000) });
    for (const version of [0, 2]) {
      const { status, body } = await put('conflict', { levels: levels(5), version });
      expect([status, body['code'], body['version']]).to.deep.equal([409, 'version_conflict', 1]);
    }
    expect((await send('conflict', 'GET', '/budgets')).body['version']).to.equal(1);
    expect((await level('conflict', 'global')).limit).to.equal(1000);
  });

  it('answers 422 to levels for which the open window has no room, and changes nothing', async () => {
    const named = (n: number) => [
      { name: 'global', limit: 1_000_000 },
      ...Array.from({ length: 255 }, (_, i) => ({ name: `p${n}-${i}`, parent: 'global', limit: 1000 })),
    ];
    for (const n of [1, 2, 3, 4]) {
      expect((await put('names', { levels: named(n) })).status).to.equal(200);
      await Promise.all(Array.from({ length: 255 }, (_, i) => spend('names', 1, `p${n}-${i}`)));
    }
    const { status, body } = await put('names', { levels: named(5) });
    expect([status, body['code']]).to.deep.equal([422, 'invalid_request']);
    expect(body['errors'])
      .to.have.nested.property('[0].message')
      .that.matches(/^would be more than 1024/);
    expect((await send('names', 'GET', '/budgets')).body['version']).to.equal(4);
  });

  it('forgets by itself a tenant that only ever asked, and no other', async () => {
    const short = await WeirFixture.start({ settings: { ...PATIENT, BUDGET_WINDOW_SECONDS: '1' } });
    try {
      const by = (tenant: string) => ({ 'x-tenant-id': tenant });
      const asked = { pipeline: 'ranking', priority: 'P1', estimated_tokens: 1 };
      await short.http.send('PUT', '/budgets', { ...who, levels: levels(1000) }, by('configured'));
      for (const tenant of ['asked', 'configured']) {
        const pipeline = tenant === 'asked' ? 'ranking' : 'a';
        await short.http.send('POST', '/v1/evaluate', { ...asked, pipeline }, by(tenant));
      }
      const { redis, namespace } = short;
      const ttl = async (tenant: string): Promise<number> => {
        const [key = ''] = await redis.keys(`${namespace}:*doc:budget:${tenant}`);
        return redis.ttl(key);
      };
      await until(10_000, 'its window is over', async () => (await ttl('asked')) > 0);
      expect(await ttl('asked')).to.be.within(172_000, 172_820);
      expect(await ttl('configured')).to.equal(-1);
    } finally {
      await short.close();
    }
  }).timeout(30_000);

  it('lets one of many that replace the same version win', async () => {
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, i) => put('race', { levels: levels(1000 + i), version: 0 })),
    );
    const statuses = answers.map(({ status }) => status).sort();
    expect(statuses).to.deep.equal([200, ...Array.from({ length: 19 }, () => 409)]);
    const won = answers.findIndex(({ status }) => status === 200);
    expect((await level('race', 'global')).limit).to.equal(1000 + won);
  });

  it('applies at once within the open window: what is used stays used', async () => {
    await put('open', { levels: levels(1000), max_request_share: 1 });
    expect(await spend('open', 800)).to.equal('ALLOW');
    expect(await spend('open', 200)).to.equal('REJECT');
    await put('open', { levels: levels(2000), max_request_share: 1 });
    const raised = await level('open', 'a');
    expect([raised.settled, raised.available['P1']]).to.deep.equal([800, 1100]);
    expect(await spend('open', 200)).to.equal('ALLOW');
    await put('open', { levels: levels(500), max_request_share: 1 });
    const lowered = await level('open', 'a');
    expect([lowered.settled, lowered.available['P1']]).to.deep.equal([1000, 0]);
    expect(await spend('open', 1)).to.equal('REJECT');
  });

  it('adds and removes pipelines within the open window; the root keeps what the removed one used', async () => {
    await put('tree', { levels: levels(1000), max_request_share: 1 });
    await spend('tree', 300);
    await put('tree', {
      ...{ levels: [levels(1000)[0], { name: 'b', parent: 'global', limit: 100 }], max_request_share: 1 },
    });
    const unknown = await send('tree', 'GET', '/budget?pipeline=a');
    expect([unknown.status, unknown.body['pipelines']]).to.deep.equal([400, ['b']]);
    expect(await spend('tree', 50, 'b')).to.equal('ALLOW');
    expect((await level('tree', 'b')).settled).to.equal(50);
    expect((await level('tree', 'global')).settled).to.equal(350);
  });

  it('moves the end of the open window to the next boundary of a new length', async () => {
    await put('length', { levels: levels(1000), max_request_share: 1 });
    await spend('length', 300);
    const before = (await send('length', 'GET', '/budget')).body['window'] as Body;
    const { body } = await put('length', {
      levels: levels(1000),
      max_request_share: 1,
      window_seconds: 86_400,
    });
    const appliedAt = Date.parse(body['applied_at'] as string);
    const boundary = (Math.floor(appliedAt / DAY_MS) + 1) * DAY_MS;
    const after = await send('length', 'GET', '/budget');
    expect(after.body['window']).to.deep.equal({
      ...{ seconds: 86_400, started_at: before['started_at'] },
      resets_at: new Date(boundary).toISOString(),
    });
    expect((await level('length', 'a')).settled).to.equal(300);
  });

  it('changes nothing of other tenants', async () => {
    const before = (await send('other', 'GET', '/budgets')).body;
    await put('not-other', { levels: levels(1000) });
    expect((await send('other', 'GET', '/budgets')).body).to.deep.equal(before);
    expect(before['version']).to.equal(0);
    expect(await spend('other', 10, 'ranking')).to.equal('ALLOW');
    expect((await level('not-other', 'global')).settled).to.equal(0);
  });
});
