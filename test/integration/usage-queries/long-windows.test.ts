import { expect } from 'chai';
import { hotWindowsIndex, windowDocument } from '../../../shared/keys.js';
import { until } from '../../support/redis-server.js';
import { TEN, UsageStores, WINDOW_MS } from './usage-stores.js';

const iso = (ms: number): string => new Date(ms).toISOString();
const window = (n: number): number => TEN + n * WINDOW_MS;
const MIB = 1_048_576;

/** As long as they may be: 50 kB a window. */
const NAMES = Array.from({ length: 100 }, (_, i) => `${i}`.padEnd(512, 'x'));

describe('usage queries: windows with many long names', () => {
  let stores: UsageStores;

  beforeEach(async () => {
    stores = await UsageStores.start();
  });
  afterEach(() => stores.close());

  /** `count` windows of 50 kB from the `first` on, hot. */
  async function longWindows(first: number, count: number): Promise<void> {
    const { keys } = stores.api.slots.ofCustomer('t1', 'c1');
    const endpoints = NAMES.map((name) => [name, 1, 1]);
    const pipeline = stores.api.redis.pipeline();
    for (let n = first; n < first + count; n++) {
      const document = {
        v: 1,
        start: window(n),
        status: 'closed',
        revision: 1,
        asOf: ['1-0', 0],
        calls: 100,
        endpoints,
      };
      pipeline.set(keys.doc(windowDocument('t1', window(n), 'c1')), JSON.stringify(document));
      pipeline.zadd(keys.index(hotWindowsIndex('t1', 'c1')), window(n), String(window(n)));
    }
    await pipeline.exec();
  }

  async function pageOf(count: number, more = '') {
    const path = `/usage/windows?customerId=c1&from=${iso(TEN)}&to=${iso(window(count))}&limit=1000${more}`;
    const { status, body } = await stores.get(path);
    expect(status).to.equal(200);
    const shown = (body['windows'] as { windowStart: string }[]).map((one) => one.windowStart);
    return { shown, bytes: JSON.stringify(body).length, cursor: body['nextCursor'] as string | null };
  }

  async function pagesOf(count: number) {
    const pages = [await pageOf(count)];
    while (pages.at(-1)!.cursor !== null) {
      pages.push(await pageOf(count, `&cursor=${pages.at(-1)!.cursor}`));
    }
    expect(pages.flatMap(({ shown }) => shown)).to.deep.equal(
      Array.from({ length: count }, (_, n) => iso(window(n))),
    );
    return pages;
  }

  it('ends a page early, with a cursor for the rest', async () => {
    await stores.partition({});
    await longWindows(0, 400);
    const pages = await pagesOf(400);
    expect(pages.length).to.equal(3);
    for (const { bytes } of pages.slice(0, -1)) expect(bytes).to.be.within(8 * MIB, 10 * MIB);
  });

  it('ends it early for archived windows, too', async () => {
    await stores.partition({ coldUntil: window(200) });
    for (let n = 0; n < 200; n++) await stores.archivedWindow(window(n), { names: NAMES });
    await longWindows(200, 10);
    const pages = await pagesOf(210);
    expect(pages.length).to.equal(2);
    expect(pages[0]!.bytes).to.be.within(8 * MIB, 10 * MIB);
  });

  it('never asks Redis for much more than 1 MiB at once, and not on the connection that appends', async () => {
    await stores.partition({});
    await longWindows(0, 300);
    await stores.api.redis.config('RESETSTAT');

    await pageOf(300);
    const stats = await stores.api.redis.info('all');
    const calls = Number(/cmdstat_evalsha:calls=(\d+)/.exec(stats)![1]);
    const out = Number(/total_net_output_bytes:(\d+)/.exec(stats)![1]);
    expect(out).to.be.within(8 * MIB, 10 * MIB);
    expect(out / calls).to.be.below(1.2 * MIB);
    const clients = (await stores.api.redis.client('LIST')) as string;
    const queries = clients.split('\n').filter((line) => line.includes(' name=weir-api-queries '));
    expect(queries.some((line) => / cmd=evalsha /.test(line))).to.equal(true);
  });

  it('makes two large answers of a tenant at a time: other pages end with their first piece', async () => {
    await stores.partition({});
    await longWindows(0, 150);
    const pages = await Promise.all(Array.from({ length: 6 }, () => pageOf(150)));
    const lengths = pages.map(({ shown }) => shown.length);
    expect(lengths.filter((length) => length === 150)).to.have.length(2);
    for (const { shown, bytes, cursor } of pages) {
      if (shown.length === 150) continue;
      expect(shown.length).to.be.at.least(1);
      expect(cursor).to.be.a('string');
      expect(bytes).to.be.below(1.2 * MIB);
    }
  });

  it('refuses a third large summary of a tenant with 503, and makes it later', async () => {
    await stores.partition({});
    await longWindows(0, 150);
    const path = `/usage/summary?customerId=c1&from=${iso(TEN)}&to=${iso(window(150))}&groupBy=endpoint`;
    const answers = await Promise.all(Array.from({ length: 6 }, () => stores.get(path)));
    expect(answers.map(({ status }) => status).sort()).to.deep.equal([200, 200, 503, 503, 503, 503]);
    for (const { status, body } of answers) {
      if (status === 503) expect(body['code']).to.equal('overloaded');
      else expect((body['total'] as { groups: object[] }).groups).to.have.length(100);
    }
    await until(5000, 'there is room again', async () => (await stores.get(path)).status === 200);
  });

  it('refuses a summary whose groups are too long together, and says what to narrow', async () => {
    await stores.partition({});
    await longWindows(0, 400);
    const path = `/usage/summary?customerId=c1&from=${iso(TEN)}&to=${iso(window(400))}&groupBy=endpoint`;
    const { status, body } = await stores.get(`${path}&window=30s`);
    expect([status, body['code']]).to.deep.equal([422, 'range_too_large']);
    expect(body['detail']).to.contain('ask for a shorter range, a longer window or no groupBy');
    expect((await stores.get(`${path}&window=1h`)).status).to.equal(200);
  });
});
