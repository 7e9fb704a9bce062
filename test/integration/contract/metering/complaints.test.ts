import { expect } from 'chai';
import pg from 'pg';
import { RedisServer, until } from '../../../support/redis-server.js';
import { WeirFixture } from '../../../support/weir-fixture.js';
import { type BatchAnswer, Caller, type Problem } from './caller.js';
import { QUICK, QUICKLY_COLD, windowToCome } from './quick.js';
import { iso, TENANT, usage, usages } from './usage.js';

/** What users of other metering services complain about, each as the opposite. */
describe('contract: what metering is complained about elsewhere', () => {
  let weir: WeirFixture;
  let caller: Caller;
  afterEach(() => weir.close());

  async function start(settings: Readonly<Record<string, string>> = QUICK, workers = 1): Promise<void> {
    weir = await WeirFixture.start({ postgres: true, workers, settings });
    caller = new Caller(weir.http);
  }

  async function rows(sql: string): Promise<readonly unknown[]> {
    const client = new pg.Client({ connectionString: weir.environment['DATABASE_URL'] });
    await client.connect();
    try {
      return (await client.query(sql)).rows;
    } finally {
      await client.end();
    }
  }

  it('a retry after a failure counts once: an id is not used up by a write that failed', async () => {
    const redis = await RedisServer.start();
    try {
      weir = await WeirFixture.start({ redisUrl: redis.url });
      caller = new Caller(weir.http);
      const event = usage('u', { eventId: 'retried' });
      await weir.redis.config('SET', 'maxmemory', 1);
      for (let i = 0; i < 3; i += 1) {
        const failed = await weir.http.post<Problem>('/usage', event);
        expect([failed.status, failed.body.code]).to.deep.equal([503, 'store_unavailable']);
        expect((await weir.http.post('/usage/batch', [event])).status).to.equal(503);
      }
      await weir.redis.config('SET', 'maxmemory', 0);
      await until(10_000, 'the retry is taken', async () => {
        return (await weir.http.post('/usage', event)).status === 202;
      });
      await caller.post(event);
      await weir.usage.drained();
      await caller.counted('u', 1);
    } finally {
      await weir.close();
      await redis.stop();
    }
  });

  it('accepted but not to be seen: the receipt says in which window it counted, or why it did not', async () => {
    await start();
    const past = windowToCome() - 1_800_000;
    await caller.post(usage('u', { eventId: 'old', timestamp: iso(past) }));
    await caller.post(usage('u', { eventId: 'new' }));
    await caller.post(usage('u', { eventId: 'new' }));
    const old = await caller.receiptWhen('old');
    expect(old).to.include({ status: 'late', windowStart: iso(past), duplicates: 0 });
    expect((await caller.window('u', Date.parse(old.windowStart)))!.aggregations.totalCalls).to.equal(1);
    const twice = await caller.receiptWhen('new', ({ duplicates }) => duplicates === 1);
    expect(twice.status).to.equal('accepted');
    const message = {
      type: 'usage',
      tenant: TENANT,
      subject: 'u',
      id: 'bad',
      timestamp: Date.now(),
      data: [],
    };
    await weir.usage.append(TENANT, 'u', message);
    const answer = await weir.http.get<{ dead_letters: { message: { id: string }; error: string }[] }>(
      '/dead-letters?topic=usage',
    );
    const letters = answer.body.dead_letters;
    if (letters.length === 0) await weir.usage.drained();
    await until(10_000, 'it is a dead letter with an error', async () => {
      const { body } = await weir.http.get<typeof answer.body>('/dead-letters?topic=usage');
      return body.dead_letters.some(({ message: { id }, error }) => id === 'bad' && error !== '');
    });
  });

  it('one bad event of a batch costs no other, and the whole batch may be sent again', async () => {
    await start();
    const good = usages(5, 'u');
    const bad = { ...usage('u', { eventId: 'bad' }), metadata: { tokens: -1 } };
    const batch = [good[0], good[1], bad, ...good.slice(2), good[0]];
    for (let i = 0; i < 3; i += 1) {
      const { status, body } = await weir.http.post<BatchAnswer>('/usage/batch', batch);
      expect([status, body.accepted]).to.deep.equal([202, 6]);
      expect(body.rejected.map(({ index, eventId }) => [index, eventId])).to.deep.equal([[2, 'bad']]);
    }
    await weir.usage.drained();
    await caller.counted('u', 5);
  });

  it('an event that was refused may be corrected and sent again under its id', async () => {
    await start();
    const event = usage('u', { eventId: 'typo' });
    const wrong = await weir.http.post('/usage', { ...event, metadata: { tokens: '10' } });
    expect(wrong.status).to.equal(422);
    await caller.post(event);
    expect((await caller.counted('u', 1)).day.tokens).to.equal(10);
    expect(await caller.receiptWhen('typo')).to.include({ status: 'accepted', duplicates: 0 });
  });

  it('counters in Redis do not drift from the database: day, windows and raw events are one sum', async () => {
    await start(QUICKLY_COLD, 2);
    const now = Date.now();
    const day = now - (now % 86_400_000);
    // Of today, hot and cold, each a second time in another batch.
    const times = [now, now + 1000, Math.max(day, now - 600_000), Math.max(day, now - 5000)];
    const events = Array.from({ length: 400 }, (_, i) =>
      usage('u', { timestamp: iso(times[i % 4]!), metadata: { tokens: i } }),
    );
    await Promise.all([caller.postAll(events), caller.postAll([...events].reverse())]);
    await weir.usage.drained();
    await until(15_000, 'every window is closed', async () => {
      const windows = await caller.windows('u');
      return windows.every(({ status, settling }) => status !== 'open' && !settling);
    });
    await weir.usage.archived();
    const tokens = (400 * 399) / 2;
    const { day: counted } = await caller.current('u');
    expect([counted.calls, counted.tokens]).to.deep.equal([400, tokens]);
    const windows = await caller.windows('u');
    const sum = (of: (w: (typeof windows)[number]['aggregations']) => number) =>
      windows.reduce((so, { aggregations }) => so + of(aggregations), 0);
    expect([sum((w) => w.totalCalls), sum((w) => w.totalTokens)]).to.deep.equal([400, tokens]);
    const raw = `SELECT count(*)::int AS calls, sum(tokens)::int AS tokens FROM usage_events`;
    expect(await rows(`${raw} WHERE status IN ('accepted', 'late')`)).to.deep.equal([{ calls: 400, tokens }]);
    expect(await rows(`${raw} WHERE status = 'duplicate'`)).to.deep.equal([{ calls: 400, tokens }]);
    const stored =
      'SELECT sum(total_calls)::int AS calls, sum(total_tokens)::int AS tokens FROM aggregation_windows';
    expect(await rows(stored)).to.deep.equal([{ calls: 400, tokens }]);
  });

  it('what happens once happens once however many workers run: each window closes as revision 1', async () => {
    await start(QUICK, 4);
    const start1 = windowToCome();
    const customers = Array.from({ length: 40 }, (_, i) => `c-${i}`);
    await caller.postAll(customers.map((customer) => usage(customer, { timestamp: iso(start1) })));
    for (const customer of customers) {
      await caller.windowWhen(customer, start1, 'closed', ({ status }) => status === 'closed');
    }
    await weir.usage.archived();
    const seen = 'SELECT status, revision, count(*)::int AS windows FROM aggregation_windows GROUP BY 1, 2';
    expect(await rows(seen)).to.deep.equal([{ status: 'closed', revision: 1, windows: 40 }]);
    let emissions = 0;
    for (const keys of weir.usage.all) {
      const state = JSON.parse((await weir.redis.get(keys.doc('partition'))) ?? '{}') as {
        emissions?: number;
      };
      emissions += state.emissions ?? 0;
    }
    expect(emissions).to.equal(40);
  });

  it('no stale reads: what a reader has seen of a window it never sees less of, hot, cold or in between', async () => {
    await start(QUICKLY_COLD, 2);
    const second = await weir.api();
    const start1 = windowToCome();
    const readers = [caller, new Caller(second)];
    const seen: (readonly [revision: number, calls: number])[] = [];
    let done = false;
    const reading = (async () => {
      for (let i = 0; !done; i += 1) {
        const window = await readers[i % 2]!.window('u', start1);
        if (window !== undefined) seen.push([window.revision, window.aggregations.totalCalls]);
      }
    })();
    try {
      let sent = 0;
      const send = async (): Promise<void> => {
        await caller.postAll(usages(3, 'u', { timestamp: iso(start1) }));
        sent += 3;
      };
      const isHot = async () => (await weir.usage.hotWindows(TENANT, 'u')).length > 0;
      await send();
      await caller.windowWhen('u', start1, 'closed', ({ status }) => status === 'closed');
      for (let i = 0; i < 5; i += 1) await send();
      // With its last revision in Postgres it leaves, while it is read; what is late then is counted there.
      await until(15_000, 'it leaves', async () => !(await isHot()));
      for (let i = 0; i < 20; i += 1) await send();
      await until(10_000, 'all are counted', async () => {
        return (await caller.window('u', start1))?.aggregations.totalCalls === sent;
      });
      expect(await isHot()).to.equal(false);
    } finally {
      done = true;
      await reading;
    }
    expect(seen.length).to.be.above(20);
    for (const [i, [revision, calls]] of seen.entries()) {
      const [before, fewer] = seen[Math.max(0, i - 1)]!;
      expect(revision, `reading ${i}`).to.be.at.least(before);
      expect(calls, `reading ${i}`).to.be.at.least(fewer);
    }
  });
});
