import { expect } from 'chai';
import { Keys } from '../../../../shared/keys.js';
import type { Answer } from '../../../support/http-client.js';
import { PostgresServer } from '../../../support/postgres-server.js';
import { until } from '../../../support/redis-server.js';
import { WeirFixture } from '../../../support/weir-fixture.js';
import { flag } from '../people.js';
import { Caller, type Problem, summaryPath, windowsPath } from './caller.js';
import { QUICK, QUICKLY_COLD, windowToCome } from './quick.js';
import { iso, TENANT, usage, usages } from './usage.js';

describe('contract: Postgres is away', () => {
  let server: PostgresServer;
  let weir: WeirFixture;
  let caller: Caller;
  before(async () => {
    server = await PostgresServer.start();
  });
  after(() => server.stop());
  beforeEach(() => server.restart());
  afterEach(() => weir.close());

  async function start(settings: Readonly<Record<string, string>>): Promise<void> {
    weir = await WeirFixture.start({ postgres: server, workers: 2, settings });
    caller = new Caller(weir.http);
  }

  function expectUnavailable(what: string, { status, headers, body }: Answer<Problem>): void {
    expect([what, status, body.status, body.code]).to.deep.equal([what, 503, 503, 'store_unavailable']);
    expect(headers.get('content-type')).to.equal('application/problem+json');
    expect(headers.get('retry-after'), what).to.match(/^[1-9]\d*$/);
  }

  it('takes usage and answers from Redis; what is in Postgres alone is 503; then everything catches up', async function () {
    this.timeout(60_000);
    await start(QUICKLY_COLD);
    const cold = windowToCome();
    await caller.postAll(usages(3, 'u', { timestamp: iso(cold) }));
    await until(15_000, 'the window has left Redis', async () => {
      const [first] = await caller.windows('u');
      return first?.status === 'closed' && (await weir.usage.hotWindows(TENANT, 'u')).length === 0;
    });
    await server.kill();

    const hot = windowToCome() + 60_000;
    await caller.postAll(usages(2, 'u', { timestamp: iso(hot) }));
    await caller.post(usage('u', { timestamp: iso(cold), eventId: 'while-away' }));
    await caller.counted('u', 6);
    const window = await caller.window('u', hot);
    expect([window?.status, window?.aggregations.totalCalls]).to.deep.equal(['open', 2]);
    const now = Date.now();
    const asked = performance.now();
    expectUnavailable('cold windows', await caller.get(windowsPath('u', cold - 60_000, now)));
    expectUnavailable('a cold summary', await caller.get(summaryPath('u', cold - 60_000, now)));
    expectUnavailable('a receipt', await caller.get('/usage/events/while-away'));
    expect(performance.now() - asked, 'nobody waits long for it').to.be.below(10_000);
    expect((await weir.http.get('/health')).status).to.equal(200);
    await until(5000, '/ready says so', async () => {
      const { body } = await weir.http.get<{ checks: { redis: string; postgres: string } }>('/ready');
      return body.checks.redis === 'ok' && body.checks.postgres === 'down';
    });

    await server.restart();
    const corrected = await caller.windowWhen('u', cold, 'corrected', ({ revision }) => revision === 2);
    expect([corrected.status, corrected.aggregations.totalCalls]).to.deep.equal(['revised', 4]);
    expect(await caller.receiptWhen('while-away')).to.include({ status: 'late', windowRevision: 2 });
    await weir.usage.archived(20_000);
    await weir.ready();
    const { windows } = await caller.page('u', cold, hot + 1);
    expect(windows.map(({ aggregations }) => aggregations.totalCalls)).to.deep.equal([4, 2]);
  });

  it('starts without it, and counts', async function () {
    this.timeout(60_000);
    const url = await server.createDatabase();
    await server.kill();
    weir = await WeirFixture.start({ workers: 0, settings: { ...QUICK, DATABASE_URL: url } });
    caller = new Caller(weir.http);
    await weir.worker();
    await caller.post(usage('early', { eventId: 'early' }));
    await caller.counted('early', 1);
    await server.restart();
    await weir.ready();
    expect(await caller.receiptWhen('early')).to.include({ status: 'accepted', windowRevision: 1 });
  });

  it('a worker that was killed while it migrated holds up no other: there is nothing left to migrate', async () => {
    await start(QUICK);
    const archiveAll = async (round: string): Promise<void> => {
      const events = Array.from({ length: 32 }, (_, i) => usage(`c-${i}`, { eventId: `${round}-${i}` }));
      await caller.postAll(events);
      for (const { eventId } of events) await caller.receiptWhen(eventId);
    };
    await archiveAll('before');
    const { lease } = new Keys(weir.namespace).lock('migrations');
    await weir.redis.set(lease, 'killed:1:nonce', 'PX', 60_000);
    const heir = await weir.worker();
    await until(10_000, 'the new worker owns a partition', async () => {
      const leases = await Promise.all(weir.usage.all.map((keys) => weir.redis.get(keys.lease)));
      return leases.some((holder) => holder?.startsWith(`${heir.workerId}:`));
    });
    await archiveAll('after');
    expect(await weir.redis.get(lease)).to.equal('killed:1:nonce');
  });

  it('a full archive backlog is 429 backlog_full, for usage alone, until Postgres is back', async function () {
    this.timeout(60_000);
    await start({ ...QUICK, ARCHIVE_BACKLOG_BYTES_MAX: '2000' });
    await caller.post(usage('u', { eventId: 'before' }));
    await caller.receiptWhen('before');
    await server.kill();
    let accepted = 1;
    let refused: Answer<Problem>;
    for (;;) {
      refused = await weir.http.post<Problem>('/usage', usage('u'));
      if (refused.status !== 202) break;
      accepted += 1;
    }
    expect([refused.status, refused.body.code]).to.deep.equal([429, 'backlog_full']);
    expect(refused.headers.get('retry-after')).to.match(/^[1-9]\d*$/);
    // Some 130 bytes each, as they lie in the stream.
    expect(accepted).to.be.within(5, 30);
    const batch = await weir.http.post<Problem>('/usage/batch', usages(3, 'u'));
    expect([batch.status, batch.body.code]).to.deep.equal([429, 'backlog_full']);
    // Other partitions, and other topics, go on.
    const elsewhere = ['a', 'b', 'c', 'd'].filter(
      (name) => weir.usage.keysOf(TENANT, name).base !== weir.usage.keysOf(TENANT, 'u').base,
    );
    for (const name of elsewhere) await caller.post(usage(name));
    expect((await weir.http.post('/event', flag('u'))).status).to.equal(202);
    await caller.counted('u', accepted);

    await server.restart();
    await until(20_000, 'weir takes more', async () => {
      return (await weir.http.post('/usage', usage('u', { eventId: 'after' }))).status === 202;
    });
    expect(await caller.receiptWhen('after')).to.include({ status: 'accepted', archived: true });
    await caller.counted('u', accepted + 1);
  });
});
