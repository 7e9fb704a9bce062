import { expect } from 'chai';
import { WeirFixture } from '../../../support/weir-fixture.js';
import { ISO } from '../people.js';
import { Caller, type Problem, summaryPath } from './caller.js';
import { QUICK } from './quick.js';
import { COMPLETION, EMBEDDING, iso, type PostedUsage, usage } from './usage.js';

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

interface Figures {
  readonly calls: number;
  readonly tokens: number;
  readonly inputTokens: number;
  readonly outputTokens: number;
  readonly avgLatencyMs: number;
  readonly p50Ms: number | null;
  readonly p95Ms: number | null;
  readonly p99Ms: number | null;
  readonly groups?: readonly { readonly name: string; readonly calls: number; readonly tokens: number }[];
}

interface SummaryView {
  readonly rows: readonly (Figures & { readonly windowStart: string; readonly windowEnd: string })[];
  readonly total: Figures;
  readonly watermark: string;
  readonly asOf: string;
}

describe('contract: GET /usage/current and /usage/summary', () => {
  let weir: WeirFixture;
  let caller: Caller;
  before(async () => {
    weir = await WeirFixture.start({ postgres: true, settings: QUICK });
    caller = new Caller(weir.http);
  });
  after(() => weir.close());

  async function summary(customer: string, from: number, to: number, more = {}): Promise<SummaryView> {
    const { status, body, text } = await caller.get<SummaryView>(summaryPath(customer, from, to, more));
    expect([status, status === 200 ? '' : text]).to.deep.equal([200, '']);
    return body;
  }

  it('the counters of minute, hour and day are what was posted', async () => {
    const now = Date.now();
    const day = now - (now % DAY_MS);
    const event = (ms: number, apiEndpoint: string, model: string, tokens: number) =>
      usage('counted', {
        timestamp: iso(ms),
        apiEndpoint,
        metadata: { tokens, inputTokens: 1, outputTokens: 2, model },
      });
    await caller.postAll([
      event(now, COMPLETION, 'gpt-4', 10),
      event(now, COMPLETION, 'gpt-4', 20),
      event(now, EMBEDDING, 'small', 30),
      // Of other minutes, of which nothing may show in this one: yesterday's last, and one that is yet to come.
      event(day - 1, EMBEDDING, 'small', 1000),
      event(now + 2 * MINUTE_MS, COMPLETION, 'small', 5),
    ]);
    await weir.usage.drained();
    const seen = await caller.current('counted');
    for (const slot of [seen.minute, seen.hour, seen.day]) {
      expect(slot.start).to.match(ISO);
      expect(slot.start <= iso(Date.now()) && iso(now) < slot.end).to.equal(true);
    }
    // The minute, even the day, may have ended since: then the events are not of the present one.
    if (Date.parse(seen.minute.start) > now) return;
    const { start, end, ...minute } = seen.minute;
    expect(Date.parse(end) - Date.parse(start)).to.equal(MINUTE_MS);
    expect(minute).to.deep.equal({
      calls: 3,
      tokens: 60,
      inputTokens: 3,
      outputTokens: 6,
      byEndpoint: { [COMPLETION]: { calls: 2, tokens: 30 }, [EMBEDDING]: { calls: 1, tokens: 30 } },
      byModel: { 'gpt-4': { calls: 2, tokens: 30 }, small: { calls: 1, tokens: 30 } },
    });
    const ahead = now + 2 * MINUTE_MS;
    expect(seen.hour.calls).to.equal(ahead < Date.parse(seen.hour.end) ? 4 : 3);
    expect(seen.day.calls).to.equal(ahead < Date.parse(seen.day.end) ? 4 : 3);
  });

  it('an unknown customer has zeros', async () => {
    const { minute, hour, day } = await caller.current('nobody');
    for (const { calls, tokens, byEndpoint, byModel } of [minute, hour, day]) {
      expect({ calls, tokens, byEndpoint, byModel }).to.deep.equal({
        ...{ calls: 0, tokens: 0 },
        ...{ byEndpoint: {}, byModel: {} },
      });
    }
  });

  /** 120 calls of 1 to 120 ms, one each 30 s of an hour that is over. */
  async function hourOfCalls(customer: string): Promise<number> {
    const now = Date.now();
    const hour = now - (now % HOUR_MS) - 2 * HOUR_MS;
    const events = Array.from({ length: 120 }, (_, i): PostedUsage => {
      return usage(customer, {
        timestamp: iso(hour + i * 30_000),
        apiEndpoint: i % 3 === 0 ? EMBEDDING : COMPLETION,
        metadata: { tokens: i, inputTokens: 1, outputTokens: 2, latencyMs: i + 1, model: `m${i % 2}` },
      });
    });
    await caller.postAll(events);
    await weir.usage.drained();
    return hour;
  }

  it('sums up by windows, minutes, hours and days, with percentiles of all calls', async () => {
    const hour = await hourOfCalls('summed');
    const rows = async (window: string) => (await summary('summed', hour, hour + HOUR_MS, { window })).rows;
    expect((await rows('30s')).map(({ calls }) => calls)).to.deep.equal(Array(120).fill(1));
    const minutes = await rows('1m');
    expect(minutes.map(({ calls, tokens }) => [calls, tokens])).to.deep.equal(
      Array.from({ length: 60 }, (_, i) => [2, 4 * i + 1]),
    );
    expect([minutes[0]!.windowStart, minutes[0]!.windowEnd]).to.deep.equal([
      iso(hour),
      iso(hour + MINUTE_MS),
    ]);
    for (const window of ['1h', '1d']) {
      const [row, ...more] = await rows(window);
      expect(more).to.deep.equal([]);
      expect(row).to.include({
        calls: 120,
        tokens: 7140,
        inputTokens: 120,
        outputTokens: 240,
        avgLatencyMs: 60.5,
      });
      expect(row!.p50Ms).to.be.closeTo(60, 1);
      expect(row!.p95Ms).to.be.closeTo(114, 2);
      expect(row!.p99Ms).to.be.closeTo(119, 2);
    }
    const { total, watermark, asOf } = await summary('summed', hour, hour + HOUR_MS, { window: '1m' });
    expect(total).to.include({ calls: 120, tokens: 7140, avgLatencyMs: 60.5 });
    expect([watermark, asOf].every((time) => ISO.test(time))).to.equal(true);
  });

  it('groups by endpoint and by model, most calls first', async () => {
    const hour = await hourOfCalls('grouped');
    const groups = async (groupBy: string) =>
      (await summary('grouped', hour, hour + HOUR_MS, { window: '1h', groupBy })).rows[0]!.groups;
    expect(await groups('endpoint')).to.deep.equal([
      { name: COMPLETION, calls: 80, tokens: 4800 },
      { name: EMBEDDING, calls: 40, tokens: 2340 },
    ]);
    const byModel = [...(await groups('model'))!].sort((a, b) => a.name.localeCompare(b.name));
    expect(byModel).to.deep.equal([
      { name: 'm0', calls: 60, tokens: 3540 },
      { name: 'm1', calls: 60, tokens: 3600 },
    ]);
  });

  it('answers CSV where the caller asks for it, with names quoted and without formulas', async () => {
    const now = Date.now();
    const hour = now - (now % HOUR_MS) - 2 * HOUR_MS;
    const names = ['a,b', 'say "hi"', '=1+1'];
    await caller.postAll(names.map((name) => usage('csv', { timestamp: iso(hour), apiEndpoint: name })));
    await caller.windowWhen('csv', hour, 'settled', ({ settling, aggregations }) => {
      return !settling && aggregations.totalCalls === 3;
    });
    const path = summaryPath('csv', hour, hour + HOUR_MS, { window: '1h', groupBy: 'endpoint' });
    const { status, headers, text } = await caller.get(path, { accept: 'text/csv' });
    expect(status).to.equal(200);
    expect(headers.get('content-type')).to.match(/^text\/csv/);
    const [head, ...rows] = text.split('\r\n');
    expect(head).to.equal('windowStart,windowEnd,endpoint,calls,tokens,final,partial');
    const times = `${iso(hour)},${iso(hour + HOUR_MS)}`;
    expect(rows.sort()).to.deep.equal(
      [
        '',
        `${times},"a,b",1,10,true,false`,
        `${times},"say ""hi""",1,10,true,false`,
        `${times},'=1+1,1,10,true,false`,
      ].sort(),
    );
  });

  it('refuses wrong queries with 422', async () => {
    const now = Date.now();
    const range = `from=${iso(now - 1000)}&to=${iso(now)}`;
    const wrong = [
      '/usage/current',
      '/usage/current?customerId=',
      '/usage/current?customerId=a&customerId=b',
      `/usage/summary?${range}`,
      `/usage/summary?customerId=c&${range}&window=2h`,
      `/usage/summary?customerId=c&${range}&groupBy=customer`,
      '/usage/summary?customerId=c',
    ];
    for (const path of wrong) {
      const { status, body } = await caller.get<Problem>(path);
      expect([path, status, body.code]).to.deep.equal([path, 422, 'invalid_request']);
    }
    for (const path of ['/usage/current?customerId=c', `/usage/summary?customerId=c&${range}`]) {
      const { status, body } = await weir.http.get<Problem>(path);
      expect([path, status, body.code]).to.deep.equal([path, 422, 'invalid_request']);
    }
  });
});
