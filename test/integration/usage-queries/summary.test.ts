import { expect } from 'chai';
import { addLatency } from '../../../rules/latency-sketch.js';
import { encodeSketch, type LatencySketch } from '../../../shared/state/latency-sketch.js';
import { TEN, UsageStores, WINDOW_MS } from './usage-stores.js';

const iso = (ms: number): string => new Date(ms).toISOString();
const window = (n: number): number => TEN + n * WINDOW_MS;
const HOUR = 3_600_000;

const url = (from: number, to: number, more = ''): string =>
  `/usage/summary?customerId=c1&from=${iso(from)}&to=${iso(to)}${more}`;

function sketch(...us: readonly number[]): LatencySketch {
  const made: LatencySketch = new Map();
  for (const one of us) addLatency(made, one);
  return made;
}

describe('usage queries: GET /usage/summary', () => {
  let stores: UsageStores;

  beforeEach(async () => {
    stores = await UsageStores.start();
  });
  afterEach(() => stores.close());

  it('sums hot and archived windows by the hour, field by field', async () => {
    await stores.partition({ coldUntil: window(2) }, { at: window(3), waiting: 1 });
    await stores.archivedWindow(window(0), { calls: 2, tokens: 20, latency: encodeSketch(sketch(10_000)) });
    await stores.hotWindow(window(2), { latency: sketch(250_000) });
    await stores.hotWindow(TEN + HOUR, { status: 'open', revision: 0 });
    const { status, body } = await stores.get(url(TEN, TEN + 2 * HOUR));
    expect(status).to.equal(200);
    const { p50Ms, p95Ms, p99Ms, ...first } = (body['rows'] as Record<string, unknown>[])[0]!;
    expect(first).to.deep.equal({
      ...{ windowStart: iso(TEN), windowEnd: iso(TEN + HOUR), final: false, partial: false },
      ...{ calls: 3, tokens: 35, inputTokens: 5, outputTokens: 10, avgLatencyMs: 250 },
    });
    expect(p50Ms).to.be.closeTo(10, 0.1);
    expect(p95Ms).to.be.closeTo(10, 0.1);
    expect(p99Ms).to.be.closeTo(10, 0.1);
    expect((body['rows'] as object[])[1]).to.deep.equal({
      ...{ windowStart: iso(TEN + HOUR), windowEnd: iso(TEN + 2 * HOUR), final: false, partial: false },
      ...{ calls: 1, tokens: 15, inputTokens: 5, outputTokens: 10, avgLatencyMs: 250 },
      ...{ p50Ms: null, p95Ms: null, p99Ms: null },
    });
    const { rows: _rows, asOf: _asOf, total, ...rest } = body;
    expect(total).to.deep.include({
      calls: 4,
      tokens: 50,
      inputTokens: 10,
      outputTokens: 20,
      avgLatencyMs: 250,
    });
    expect(rest).to.deep.equal({
      ...{ customerId: 'c1', from: iso(TEN), to: iso(TEN + 2 * HOUR), window: '1h', groupBy: null },
      watermark: iso(window(3) - 1),
    });
    expect(Object.keys(body)).to.deep.equal([
      ...['customerId', 'from', 'to', 'window', 'groupBy', 'rows', 'total', 'watermark', 'asOf'],
    ]);
  });

  it('has rows of one window, a minute, an hour and a day', async () => {
    await stores.partition({}, { at: TEN + 48 * HOUR, waiting: 1 });
    for (const n of [0, 1, 2, 200, 3000]) await stores.hotWindow(window(n));
    const rows = async (size: string): Promise<unknown[]> => {
      const { body } = await stores.get(url(TEN, TEN + 30 * HOUR, `&window=${size}`));
      expect(body['window']).to.equal(size);
      return (body['rows'] as Record<string, unknown>[]).map((row) => [
        row['windowStart'],
        row['calls'],
        row['final'],
        row['partial'],
      ]);
    };
    expect(await rows('30s')).to.deep.equal(
      [0, 1, 2, 200, 3000].map((n) => [iso(window(n)), 1, true, false]),
    );
    expect(await rows('1m')).to.deep.equal([
      [iso(TEN), 2, true, false],
      [iso(TEN + 60_000), 1, true, false],
      [iso(window(200)), 1, true, false],
      [iso(window(3000)), 1, true, false],
    ]);
    expect(await rows('1h')).to.deep.equal([
      [iso(TEN), 3, true, false],
      [iso(TEN + HOUR), 1, true, false],
      [iso(TEN + 25 * HOUR), 1, true, false],
    ]);
    expect(await rows('1d')).to.deep.equal([
      ['2023-11-20T00:00:00.000Z', 4, false, true],
      ['2023-11-21T00:00:00.000Z', 1, false, true],
    ]);
  });

  it('says which rows the range cuts, and calls no row final before its end', async () => {
    await stores.partition({}, { at: TEN + 50 * 60_000 + 10_001, waiting: 1 });
    for (let n = 0; n < 100; n += 20) await stores.hotWindow(window(n));
    const rows = async (from: number, to: number, size: string): Promise<unknown[]> => {
      const { body } = await stores.get(url(from, to, `&window=${size}`));
      return (body['rows'] as Record<string, unknown>[]).map(({ windowStart, calls, final, partial }) => [
        windowStart,
        calls,
        final,
        partial,
      ]);
    };
    // The hour is not over: neither it nor its day is final, whatever part of them was asked for.
    expect(await rows(TEN, TEN + HOUR, '1h')).to.deep.equal([[iso(TEN), 5, false, false]]);
    expect(await rows(window(60), TEN + HOUR, '1h')).to.deep.equal([[iso(TEN), 2, false, true]]);
    expect(await rows(TEN, window(60), '1h')).to.deep.equal([[iso(TEN), 3, false, true]]);
    expect(await rows(TEN, window(60), '1d')).to.deep.equal([['2023-11-20T00:00:00.000Z', 3, false, true]]);
    expect(await rows(window(60), TEN + HOUR, '1m')).to.deep.equal([
      [iso(window(60)), 1, true, false],
      [iso(window(80)), 1, true, false],
    ]);
    // Now it is over, but half of it was asked for.
    await stores.partition({}, { at: TEN + HOUR + 10_001, waiting: 1 });
    expect(await rows(window(60), TEN + HOUR, '1h')).to.deep.equal([[iso(TEN), 2, false, true]]);
    expect(await rows(TEN, TEN + HOUR, '1h')).to.deep.equal([[iso(TEN), 5, true, false]]);
  });

  it('groups, in each row and in the total', async () => {
    await stores.partition({ coldUntil: window(1) });
    await stores.archivedWindow(window(0), { calls: 4, tokens: 40 });
    await stores.hotWindow(window(1));
    const { body } = await stores.get(url(TEN, TEN + HOUR, '&groupBy=endpoint&window=1m'));
    const groups = [
      { name: '/v1/cold', calls: 4, tokens: 40 },
      { name: '/v1/hot', calls: 1, tokens: 15 },
      { name: '__proto__', calls: 0, tokens: 0 },
    ];
    expect(body['groupBy']).to.equal('endpoint');
    expect((body['rows'] as Record<string, unknown>[])[0]!['groups']).to.deep.equal(groups);
    expect((body['total'] as Record<string, unknown>)['groups']).to.deep.equal(groups);
  });

  it('reads as many pieces as it takes', async () => {
    await stores.partition({});
    for (let n = 0; n < 1201; n++) await stores.hotWindow(window(n));
    const { body } = await stores.get(url(TEN, window(1201), '&window=1h'));
    expect((body['rows'] as Record<string, unknown>[]).map((row) => row['calls'])).to.deep.equal([
      ...Array(10).fill(120),
      1,
    ]);
    expect(body['total']).to.include({ calls: 1201 });
  });

  it('answers with no rows where nothing was used', async () => {
    await stores.partition({});
    const { status, body } = await stores.get(url(TEN, TEN + HOUR));
    expect([status, body['rows']]).to.deep.equal([200, []]);
    expect(body['total']).to.deep.equal({
      ...{ calls: 0, tokens: 0, inputTokens: 0, outputTokens: 0, avgLatencyMs: 0 },
      ...{ p50Ms: null, p95Ms: null, p99Ms: null },
    });
  });

  it('answers CSV to who asks for it', async () => {
    await stores.partition({}, { at: window(9), waiting: 1 });
    await stores.hotWindow(window(0));
    await stores.hotWindow(window(2), { latency: sketch(250_000) });
    const csv = { accept: 'text/csv' };
    const { status, headers, body } = await stores.get(url(TEN, window(4), '&window=1m'), 't1', csv);
    expect(status).to.equal(200);
    expect(headers.get('content-type')).to.match(/^text\/csv; charset=utf-8/);
    expect(headers.get('x-weir-watermark')).to.equal(iso(window(9) - 1));
    expect(Date.parse(headers.get('x-weir-as-of')!)).to.be.greaterThan(0);
    const lines = (body['text'] as string).split('\r\n');
    expect(lines[0]).to.equal(
      'windowStart,windowEnd,calls,tokens,inputTokens,outputTokens,avgLatencyMs,p50Ms,p95Ms,p99Ms,final,partial',
    );
    expect(lines[1]).to.equal(`${iso(TEN)},${iso(window(2))},1,15,5,10,250,,,,true,false`);
    expect(lines[2]).to.match(/:02:00.000Z,1,15,5,10,250,(2\d\d(\.\d+)?,){3}true,false$/);
    expect(lines.slice(3)).to.deep.equal(['']);
  });

  it('has a line per row and group in CSV, with names that no spreadsheet runs', async () => {
    await stores.partition({}, { at: window(9), waiting: 1 });
    await stores.hotWindow(TEN, {
      byModel: new Map([
        ['=HYPERLINK("http://x","y")', { calls: 3, tokens: 1 }],
        ['gpt,4', { calls: 2, tokens: 1 }],
      ]),
    });
    const csv = { accept: 'text/csv;q=0.9, application/json;q=0.1' };
    const { headers, body } = await stores.get(url(TEN, window(1), '&window=30s&groupBy=model'), 't1', csv);
    const times = `${iso(TEN)},${iso(window(1))}`;
    expect(headers.get('x-weir-csv')).to.be.a('string');
    expect((body['text'] as string).split('\r\n')).to.deep.equal([
      'windowStart,windowEnd,model,calls,tokens,final,partial',
      `${times},"'=HYPERLINK(""http://x"",""y"")",3,1,true,false`,
      `${times},"gpt,4",2,1,true,false`,
      '',
    ]);
  });

  it('answers 422 to what is wrong, problems as JSON also to who asks for CSV', async () => {
    for (const more of ['&window=5m', '&groupBy=tenant', '&window=', '&limit=1', '&window=1m&window=1m']) {
      const answer = await stores.get(url(TEN, TEN + HOUR, more), 't1', { accept: 'text/csv' });
      expect([more, answer.status, answer.body['code']]).to.deep.equal([more, 422, 'invalid_request']);
      expect(answer.headers.get('content-type')).to.equal('application/problem+json');
    }
  });

  it('refuses a range with more than 100,000 windows, before it reads them', async () => {
    await stores.partition({});
    const { keys } = stores.api.slots.ofCustomer('t1', 'c1');
    const index = keys.index('windows:t1:c1');
    for (let n = 0; n < 100_001; n += 10_000) {
      const members: (string | number)[] = [];
      for (let i = n; i < Math.min(n + 10_000, 100_001); i++) members.push(window(i), String(window(i)));
      await stores.api.redis.zadd(index, ...members);
    }
    await stores.api.redis.config('RESETSTAT');
    const { status, body } = await stores.get(url(TEN, window(100_001)));
    expect([status, body['code']]).to.deep.equal([422, 'range_too_large']);
    expect(await stores.api.redis.info('commandstats')).not.to.contain('cmdstat_evalsha:');
  });
});

describe('usage queries: other lengths of windows', () => {
  it('takes 30s for one window, whatever its length', async () => {
    const stores = await UsageStores.start({ WINDOW_SECONDS: '10' });
    try {
      await stores.partition({});
      for (const n of [0, 1, 2]) await stores.hotWindow(TEN + n * 10_000);
      const { body } = await stores.get(url(TEN, TEN + HOUR, '&window=30s'));
      const rows = body['rows'] as Record<string, unknown>[];
      expect(rows.map((row) => [row['windowStart'], row['windowEnd']])).to.deep.equal([
        [iso(TEN), iso(TEN + 10_000)],
        [iso(TEN + 10_000), iso(TEN + 20_000)],
        [iso(TEN + 20_000), iso(TEN + 30_000)],
      ]);
    } finally {
      await stores.close();
    }
  });
});
