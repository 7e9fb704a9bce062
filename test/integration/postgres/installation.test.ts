import { expect } from 'chai';
import pg from 'pg';
import { EngineFixture } from '../../support/engine-fixture.js';
import { testPostgres } from '../../support/hooks.js';
import { until } from '../../support/redis-server.js';
import { runReconcile } from '../../support/run-reconcile.js';
import { UsageTopic } from '../../support/usage-topic.js';
import { WeirFixture } from '../../support/weir-fixture.js';

interface Ready {
  readonly status: string;
  readonly checks: { readonly redis: string; readonly postgres: string; readonly workers: string };
}

describe('a database of another installation', () => {
  const fixtures: EngineFixture[] = [];
  afterEach(async () => {
    for (const fixture of fixtures.splice(0)) await fixture.close();
  });

  function installation(): EngineFixture {
    const fixture = new EngineFixture();
    fixtures.push(fixture);
    return fixture;
  }

  it('is not served: what the other one has is neither shown nor taken for missing', async () => {
    const url = await (await testPostgres()).createDatabase();
    const settings = { DATABASE_URL: url, ARCHIVE_DELAY_MS: '0', LOG_LEVEL: 'silent' };
    const first = await WeirFixture.start({ settings });
    fixtures.push(first);
    const metadata = { tokens: 2, model: 'm', latencyMs: 1, inputTokens: 1, outputTokens: 1 };
    const timestamp = new Date().toISOString();
    const event = { eventId: 'e', timestamp, tenantId: 't', customerId: 'c', apiEndpoint: '/e', metadata };
    const tenant = { 'X-Tenant-Id': 't' };
    expect((await first.http.post('/usage', event, tenant)).status).to.equal(202);
    const receipt = (weir: WeirFixture) => weir.http.send('GET', '/usage/events/e', undefined, tenant);
    await until(10_000, 'the first has it', async () => (await receipt(first)).status === 200);

    const second = await WeirFixture.start({ settings, workers: 0 });
    fixtures.push(second);
    await second.worker();
    await until(5000, 'its partitions are owned', async () => {
      const { body } = await second.http.get<Ready>('/ready');
      return body.checks.workers === 'ok';
    });
    const ready = await second.http.get<Ready>('/ready');
    expect([ready.status, ready.body.status, ready.body.checks]).to.deep.equal([
      ...[503, 'not_ready', { redis: 'ok', postgres: 'another_installation', workers: 'ok' }],
    ]);
    const range = 'customerId=c&from=2020-01-01T00:00:00Z&to=2020-01-02T00:00:00Z';
    for (const path of [
      '/usage/events/e',
      `/usage/windows?${range}`,
      `/usage/summary?${range}&window=1h`,
      '/budgets/versions',
    ]) {
      const { status, body } = await second.http.send<{ code: string }>('GET', path, undefined, tenant);
      expect([path, status, body.code]).to.deep.equal([path, 503, 'wrong_database']);
    }
    // Decisions do not ask Postgres.
    expect((await second.http.get('/canmessage?user_id=u')).status).to.equal(200);
    expect((await receipt(first)).status).to.equal(200);
    const reconciled = await runReconcile([], { ...second.environment });
    expect(reconciled.code).to.equal(2);
    expect(reconciled.err).to.include('this database belongs to the installation');
  }).timeout(30_000);

  it('is not written to: rows of one would be taken for rows of the other', async () => {
    const url = await (await testPostgres()).createDatabase();
    const settings = { DATABASE_URL: url, ARCHIVE_DELAY_MS: '0' };
    const owner = new pg.Client({ connectionString: url });
    await owner.connect();
    try {
      const rows = async (): Promise<string[]> => {
        const { rows: found } = await owner.query<{ event_id: string }>('SELECT event_id FROM usage_events');
        return found.map(({ event_id }) => event_id);
      };
      const data = ['/e', 1, 0, 0, null, null];
      const usage = (id: string) => ({
        type: 'usage',
        tenant: 't',
        subject: 'c',
        id,
        timestamp: Date.now(),
        data,
      });
      const first = installation();
      await first.worker(settings);
      await new UsageTopic(first.redis, first.namespace).append('t', 'c', usage('of the first'));
      await until(10_000, 'the first writes', async () => (await rows()).length === 1);
      const second = installation();
      await second.worker(settings);
      const topic = new UsageTopic(second.redis, second.namespace);
      await topic.append('t', 'c', usage('of the second'));
      await topic.drained();
      // What is accepted later by the one that may write is there; what was accepted before by the other is not.
      await new UsageTopic(first.redis, first.namespace).append('t', 'c', usage('also of the first'));
      await until(10_000, 'the first writes again', async () => (await rows()).length === 2);
      expect(await rows()).to.have.members(['of the first', 'also of the first']);
      expect(await second.redis.xlen(topic.keysOf('t', 'c').stream), 'it waits in Redis').to.equal(1);
    } finally {
      await owner.end();
    }
  });
});
