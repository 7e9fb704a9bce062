import { expect } from 'chai';
import { windowDocument } from '../../../shared/keys.js';
import { LATENESS_MS, ReconcileUnderTest, shown, T0, WINDOW_MS } from './reconcile-under-test.js';

const DAY_MS = 86_400_000;
const C1_0 = windowDocument('acme', T0, 'c1');
const C2_0 = windowDocument('acme', T0, 'c2');
const C1_1 = windowDocument('acme', T0 + WINDOW_MS, 'c1');

/** Four closed ones in Postgres; these and the open one in Redis. */
const ALL_AGREE = { comparedWindows: 4 + 5, drifted: 0 };

describe('reconciler: all windows', () => {
  let weir: ReconcileUnderTest;

  beforeEach(async () => {
    weir = await ReconcileUnderTest.start();
    // Five windows: c1's first has a late event, c2's more endpoints than fit, c3's last is still open.
    weir.count(1000).count(2000, { endpoint: '/b', model: null, latencyMs: null }).count(29_000);
    for (const endpoint of ['/1', '/2', '/3', '__other__', '/1']) {
      weir.count(29_500, { customer: 'c2', endpoint, tokens: 7 });
    }
    weir
      .count(31_000, { model: 'm2' })
      .count(38_000, { timestamp: 29_999 })
      .count(60_000, { timestamp: 5000 });
    weir.count(100_000, { tenant: 'other', customer: 'c1' }).count(500_000, { customer: 'c3' });
  });

  afterEach(() => weir.close());

  /** The late event comes a second time: 10 tokens. */
  const query = (text: string, ...values: unknown[]) => weir.postgres.query(text, values);

  it('finds that all agree, each window in Redis and in Postgres', async () => {
    await (await weir.archive()).store();
    const { comparedWindows, pending, outside, drifted, drift } = await weir.full();
    expect({ pending, outside, drifted, drift }).to.deep.equal({
      pending: 0,
      outside: 0,
      drifted: 0,
      drift: [],
    });
    expect(comparedWindows).to.equal(ALL_AGREE.comparedWindows);
  });

  it('finds nothing where there is nothing', async () => {
    const empty = await ReconcileUnderTest.start();
    try {
      const { comparedWindows, drifted } = await empty.full();
      expect([comparedWindows, drifted]).to.deep.equal([0, 0]);
    } finally {
      await empty.close();
    }
  });

  it('names the window of a raw event that was changed', async () => {
    await (await weir.archive()).store();
    await query(`UPDATE usage_events SET tokens = 11 WHERE accepted_at = $1`, new Date(T0 + 31_000));
    expect(shown((await weir.full()).drift)).to.deep.equal({
      'acme c1 +1': [
        ...['tokens: -/10/11', 'endpoints /api/completion tokens: -/10/11', 'models m2 tokens: -/10/11'],
        ...['tokens: 10/-/11', 'endpoints /api/completion tokens: 10/-/11', 'models m2 tokens: 10/-/11'],
      ],
    });
  });

  it('names the window of a raw event that is gone, though only `__other__` counted it', async () => {
    await (await weir.archive()).store();
    await query(`DELETE FROM usage_events WHERE endpoint = '/3'`);
    const found = shown((await weir.full()).drift);
    expect(Object.keys(found)).to.deep.equal(['acme c2 +0']);
    expect(found['acme c2 +0']).to.include.members([
      'calls: 5/-/4',
      'calls: -/5/4',
      'endpoints __other__ calls: 2/-/1',
      'endpoints __other__ tokens: -/14/7',
    ]);
  });

  it('names every field of a window in Postgres that was changed', async () => {
    await (await weir.archive()).store();
    const changes: [sql: string, found: string[]][] = [
      ['total_calls = total_calls + 1', ['calls: -/6/5']],
      ['total_tokens = total_tokens + 1', ['tokens: -/51/50']],
      ['total_input_tokens = 0', ['inputTokens: -/0/20']],
      ['total_output_tokens = 9007199254740993', ['outputTokens: -/9007199254740992/30']],
      ['latency_count = 3', ['latencyCount: -/3/4']],
      ['latency_sum_us = 80001', ['latencySumUs: -/80001/80000']],
      ['late_events = 0', ['late: -/0/1']],
      [
        `aggregation_data = jsonb_set(aggregation_data, '{endpoints,1}', '["/c", 1, 10]')`,
        [
          ...['endpoints /c calls: -/1/0', 'endpoints /c tokens: -/10/0'],
          ...['endpoints __other__ calls: -/0/1', 'endpoints __other__ tokens: -/0/10'],
        ],
      ],
      [
        `aggregation_data = jsonb_set(aggregation_data, '{models}', '[]')`,
        ['models __other__ calls: -/0/4', 'models __other__ tokens: -/0/40'],
      ],
      [`aggregation_data = jsonb_set(aggregation_data, '{latency,1}', '1')`, ['latencies sketched: -/1/4']],
    ];
    const where = `window_start = $1 AND tenant_id = 'acme'
      AND customer_id = (SELECT id FROM customers WHERE tenant_id = 'acme' AND external_id = 'c1')`;
    const [before] = await query(`SELECT * FROM aggregation_windows WHERE ${where}`, new Date(T0));
    for (const [change, found] of changes) {
      await query(`UPDATE aggregation_windows SET ${change} WHERE ${where}`, new Date(T0));
      expect(shown((await weir.full()).drift), change).to.deep.equal({ 'acme c1 +0': found });
      const columns = Object.keys(before!).filter((name) => /total_|latency_|late_|data/.test(name));
      await query(
        `UPDATE aggregation_windows SET ${columns.map((name, i) => `${name} = $${i + 2}`).join(', ')} WHERE ${where}`,
        new Date(T0),
        ...columns.map((name) =>
          name === 'aggregation_data' ? JSON.stringify(before![name]) : before![name],
        ),
      );
    }
    expect((await weir.full()).drifted).to.equal(0);
  });

  it('names the window whose document in Redis was changed, and one that cannot be read', async () => {
    await (await weir.archive()).store();
    await weir.tamper(C1_1, (document) => {
      document['calls'] = 2;
    });
    await weir.redis.set(weir.documentKey(C2_0), '{"v":1,');
    const { drift, drifted } = await weir.full();
    expect(shown(drift)).to.deep.equal({
      'acme c1 +1': ['calls: 2/-/1'],
      'acme c2 +0': ['document: -/-/-'],
    });
    expect(drifted).to.equal(2);
  });

  it('names a window with names that Postgres cannot hold, and one with a place that is none', async () => {
    await (await weir.archive()).store();
    await weir.tamper(C1_1, (document) => {
      document['calls'] = 3;
      document['endpoints'] = [
        ['/api/completion', 1, 10],
        ['/\0', 1, 0],
      ];
      document['models'] = [
        ['m2', 1, 10],
        ['\ud800', 1, 0],
      ];
    });
    await weir.tamper(C2_0, (document) => {
      document['asOf'] = ['x', 0];
    });
    const text = await weir.redis.get(weir.documentKey(C1_1));
    for (const name of [windowDocument('acme', T0, 'nul\0'), windowDocument('nul\0', T0, 'c1')]) {
      await weir.redis.set(weir.documentKey(name), text!);
    }
    const found = shown((await weir.full()).drift);
    expect(found['acme c1 +1']).to.deep.equal([
      ...['calls: 3/-/1', 'endpoints /\0 calls: 1/-/0', 'models \ud800 calls: 1/-/0'],
    ]);
    expect(found['acme c2 +0']).to.deep.equal(['document: -/-/-']);
    expect(found['acme nul\0 +0']).to.include('calls: 3/-/0');
    expect(found['nul\0 c1 +0']).to.include('calls: 3/-/0');
    expect(Object.keys(found)).to.have.length(4);
  });

  it('leaves a document of a newer version for another time', async () => {
    await (await weir.archive()).store();
    await weir.tamper(C1_1, (document) => {
      document['v'] = 99;
    });
    const { pending, drifted } = await weir.full();
    expect({ pending, drifted }).to.deep.equal({ pending: 1, drifted: 0 });
  });

  it('names a window in Redis of a customer that Postgres has never heard of', async () => {
    await (await weir.archive()).store();
    const text = await weir.redis.get(weir.documentKey(C1_1));
    await weir.redis.set(weir.documentKey(windowDocument('acme', T0, 'nobody:0')), text!);
    const found = shown((await weir.full()).drift);
    expect(Object.keys(found)).to.deep.equal(['acme nobody:0 +0']);
    expect(found['acme nobody:0 +0']).to.include('calls: 1/-/0');
  });

  it('names raw events without a window, and a window without raw events', async () => {
    await (await weir.archive()).store();
    await query('DELETE FROM aggregation_windows WHERE window_start = $1', new Date(T0 + 90_000));
    await query('DELETE FROM usage_events WHERE window_start = $1', new Date(T0 + WINDOW_MS));
    const found = shown((await weir.full()).drift);
    expect(Object.keys(found)).to.have.members(['other c1 +3', 'acme c1 +1']);
    expect(found['other c1 +3']).to.deep.equal(['row: -/0/1']);
    expect(found['acme c1 +1']).to.include.members(['calls: -/1/0', 'calls: 1/-/0']);
  });

  it('names a window of which Postgres missed a revision', async () => {
    await (await weir.archive()).store();
    // The window as it closed, before the late event.
    await query(
      `UPDATE aggregation_windows SET total_calls = 4, total_tokens = 40, total_input_tokens = 16,
         total_output_tokens = 24, latency_count = 3, latency_sum_us = 60000, late_events = 0,
         aggregation_data = '{"endpoints": [["/api/completion", 3, 30], ["/b", 1, 10]],
           "models": [["gpt-4", 3, 30]], "latency": [1, 3]}', as_of_at = $1, as_of_seq = 10
       WHERE tenant_id = 'acme' AND window_start = $2 AND late_events = 1`,
      new Date(T0 + 38_000),
      new Date(T0),
    );
    expect(shown((await weir.full()).drift)).to.deep.equal({ 'acme c1 +0': ['revision: -/0/1'] });
  });

  it('reports nothing while the archive lags, however far it has come', async () => {
    await weir.store();
    while (weir.unarchived > 0) {
      expect((await weir.full()).drift).to.deep.equal([]);
      await weir.archive(1);
    }
    const { pending, comparedWindows, drifted } = await weir.full();
    expect({ pending, comparedWindows, drifted }).to.deep.equal({ ...ALL_AGREE, pending: 0 });
  });

  it('waits for the archive to reach what it found in Redis', async () => {
    await weir.archive(5);
    await weir.store();
    expect((await weir.full()).pending).to.equal(5);
    const comparing = weir.full({ patienceMs: 15_000 });
    // More comes meanwhile: what was found is right as of its own time.
    weir.count(501_000, { customer: 'c3' }).count(502_000, { timestamp: 31_000 }).idle(510_000);
    await weir.store();
    await weir.archive();
    const { pending, drifted, comparedWindows } = await comparing;
    expect({ pending, drifted }).to.deep.equal({ pending: 0, drifted: 0 });
    // The five in Redis as they were; of Postgres, what it had when it was asked.
    expect(comparedWindows).to.be.within(5, 10);
  });

  it('agrees with windows that were corrected after they had left Redis', async () => {
    await weir.archive();
    weir.folded.archiveAll();
    weir.idle(2 * DAY_MS).count(2 * DAY_MS + 1, { timestamp: 6000 });
    expect(weir.folded.counted.at(-1)!.verdict).to.equal('cold');
    await (await weir.archive()).store();
    const { drifted, comparedWindows } = await weir.full();
    expect({ drifted, comparedWindows }).to.deep.equal({ drifted: 0, comparedWindows: 6 });
  });

  it('leaves alone what is older than the raw events that are kept, and what is before --since', async () => {
    await (await weir.archive()).store();
    expect((await weir.full({ sinceMs: T0 + WINDOW_MS })).comparedWindows).to.equal(2 + 3);
    await query('DELETE FROM usage_events WHERE accepted_at < $1', new Date(T0 + 60_000));
    expect((await weir.full()).drifted).to.equal(3);
    await query(
      `INSERT INTO sink_positions (sink, stream, outbox_id, stream_position) VALUES ('retention', 'usage', '0-0', $1)`,
      `${T0 + 1}-0`,
    );
    const { outside, drifted } = await weir.full();
    // Every window begins less than the two hours after it that an event may come before its window.
    expect({ outside, drifted }).to.deep.equal({ outside: 4 + 1 + 5, drifted: 0 });
  });

  it('stops when it is told to', async () => {
    await weir.archive(5);
    await weir.store();
    const stop = new AbortController();
    const comparing = weir.full({ patienceMs: 15_000, signal: stop.signal }).catch((error: unknown) => error);
    stop.abort(new Error('stop'));
    expect(await comparing).to.have.property('message', 'stop');
  });

  it('knows what the windows of this test are', () => {
    const emissions = weir.folded
      .emissions()
      .map(({ customer, start, status, calls }) => [customer, (start - T0) / WINDOW_MS, status, calls]);
    expect(emissions).to.deep.equal([
      ['c1', 0, 'closed', 4],
      ['c2', 0, 'closed', 5],
      ['c1', 0, 'revised', 5],
      ['c1', 1, 'closed', 1],
      ['c1', 3, 'closed', 1],
    ]);
    expect(LATENESS_MS).to.equal(10_000);
    expect(weir.folded.documentNames('window:')).to.include(C1_0);
  });
});
