import { expect } from 'chai';
import { until } from '../../support/redis-server.js';
import { TEN, UsageStores, WINDOW_MS } from './usage-stores.js';

interface WindowView {
  readonly windowStart: string;
  readonly tenantId: string;
  readonly customerId: string;
  readonly aggregations: { readonly totalCalls: number };
}

const iso = (ms: number): string => new Date(ms).toISOString();
const windowsUrl = (from: number, to: number, more = ''): string =>
  `/usage/windows?customerId=c1&from=${iso(from)}&to=${iso(to)}${more}`;
const window = (n: number): number => TEN + n * WINDOW_MS;

describe('usage queries: GET /usage/windows', () => {
  let stores: UsageStores;

  beforeEach(async () => {
    stores = await UsageStores.start();
  });
  afterEach(() => stores.close());

  it('shows a window field by field', async () => {
    await stores.partition({});
    await stores.hotWindow(TEN, {
      ...{ status: 'revised', revision: 2, settling: true, late: 1, calls: 3, tokens: 30 },
      ...{ latencyCount: 3, latencySumUs: 700_001 },
      byEndpoint: new Map([
        ['__proto__', { calls: 2, tokens: 20 }],
        ['/v1', { calls: 1, tokens: 10 }],
      ]),
    });
    const { status, body } = await stores.get(windowsUrl(TEN, TEN + 1));
    expect(status).to.equal(200);
    const [shown] = body['windows'] as { aggregations: { byEndpoint: object } }[];
    expect(Object.keys(shown!.aggregations.byEndpoint)).to.deep.equal(['__proto__', '/v1']);
    expect(JSON.parse(JSON.stringify(shown))).to.deep.equal({
      ...{ windowStart: '2023-11-20T10:00:00.000Z', windowEnd: '2023-11-20T10:00:30.000Z' },
      ...{ tenantId: 't1', customerId: 'c1', status: 'revised', revision: 2, settling: true, lateEvents: 1 },
      aggregations: {
        ...{ totalCalls: 3, totalTokens: 30, totalInputTokens: 5, totalOutputTokens: 10 },
        avgLatencyMs: 233.334,
        byEndpoint: JSON.parse(
          '{"__proto__":{"calls":2,"tokens":20},"/v1":{"calls":1,"tokens":10}}',
        ) as object,
        byModel: { 'hot-model': { calls: 1, tokens: 15 } },
      },
      latency: { p50Ms: null, p95Ms: null, p99Ms: null },
      asOf: '2023-11-20T10:00:00.099Z',
      position: `${stores.api.slots.ofCustomer('t1', 'c1').name}/${TEN + 99}-2:3`,
    });
    expect(body['nextCursor']).to.equal(null);
    expect(Object.keys(body)).to.have.members(['windows', 'watermark', 'asOf', 'nextCursor']);
  });

  it('merges hot and archived windows in order; Redis wins where both have one', async () => {
    await stores.partition({ coldUntil: window(2) });
    for (const n of [0, 1]) await stores.archivedWindow(window(n), { calls: 10 + n });
    // Not evicted yet, and revised since.
    await stores.hotWindow(window(1), { calls: 99, revision: 2, status: 'revised' });
    await stores.hotWindow(window(3), { calls: 13 });
    const { body } = await stores.get(windowsUrl(TEN, window(10)));
    const shown = body['windows'] as WindowView[];
    expect(shown.map((one) => [one.windowStart, one.aggregations.totalCalls])).to.deep.equal([
      [iso(window(0)), 10],
      [iso(window(1)), 99],
      [iso(window(3)), 13],
    ]);
    expect(shown[0]).to.deep.equal({
      ...{ windowStart: iso(TEN), windowEnd: iso(TEN + WINDOW_MS), tenantId: 't1', customerId: 'c1' },
      ...{ status: 'closed', revision: 1, settling: false, lateEvents: 0 },
      aggregations: {
        ...{ totalCalls: 10, totalTokens: 10, totalInputTokens: 0, totalOutputTokens: 0, avgLatencyMs: 0 },
        byEndpoint: JSON.parse(
          '{"/v1/cold":{"calls":10,"tokens":10},"__proto__":{"calls":0,"tokens":0}}',
        ) as object,
        byModel: { 'cold-model': { calls: 10, tokens: 10 } },
      },
      latency: { p50Ms: null, p95Ms: null, p99Ms: null },
      ...{ asOf: iso(TEN + 1234), position: `usage.3/${TEN + 1234}-4:5` },
    });
  });

  it('has windows whose start is in [from, to)', async () => {
    await stores.partition({});
    for (const n of [0, 1, 2]) await stores.hotWindow(window(n));
    const starts = async (from: number, to: number): Promise<string[]> =>
      ((await stores.get(windowsUrl(from, to))).body['windows'] as WindowView[]).map(
        (one) => one.windowStart,
      );
    expect(await starts(window(0), window(2))).to.deep.equal([iso(window(0)), iso(window(1))]);
    expect(await starts(window(0) + 1, window(2) + 1)).to.deep.equal([iso(window(1)), iso(window(2))]);
  });

  it('gives every window once, page by page, across both stores', async () => {
    await stores.partition({ coldUntil: window(30) });
    for (let n = 0; n < 30; n += 2) await stores.archivedWindow(window(n));
    for (let n = 20; n < 47; n++) await stores.hotWindow(window(n));
    const expected = [...Array(47).keys()].filter((n) => n >= 20 || n % 2 === 0).map((n) => iso(window(n)));
    for (const limit of [1, 7, 37, 1000]) {
      const seen: string[] = [];
      let cursor: string | null = '';
      while (cursor !== null) {
        const more = `&limit=${limit}${cursor === '' ? '' : `&cursor=${cursor}`}`;
        const { status, body } = await stores.get(windowsUrl(TEN, window(100), more));
        expect(status).to.equal(200);
        const shown = body['windows'] as WindowView[];
        expect(shown.length).to.equal(Math.min(limit, expected.length - seen.length));
        seen.push(...shown.map((one) => one.windowStart));
        cursor = body['nextCursor'] as string | null;
      }
      expect(seen).to.deep.equal(expected);
    }
  });

  it('refuses a cursor of another query', async () => {
    await stores.partition({});
    for (const n of [0, 1, 2]) await stores.hotWindow(window(n));
    const cursor = (await stores.get(windowsUrl(TEN, window(9), '&limit=1'))).body['nextCursor'] as string;
    expect((await stores.get(windowsUrl(TEN, window(9), `&limit=2&cursor=${cursor}`))).status).to.equal(200);
    const wrong = [
      stores.get(windowsUrl(TEN, window(8), `&cursor=${cursor}`)),
      stores.get(windowsUrl(TEN + 1, window(9), `&cursor=${cursor}`)),
      stores.get(windowsUrl(TEN, window(9), `&cursor=${cursor}`).replace('c1', 'c2')),
      stores.get(windowsUrl(TEN, window(9), `&cursor=${cursor}`), 't2'),
      stores.get(windowsUrl(TEN, window(9), `&cursor=x${cursor}`)),
    ];
    for (const { status, body } of await Promise.all(wrong)) {
      expect([status, body['code']]).to.deep.equal([422, 'invalid_request']);
      expect((body['errors'] as { path: string }[])[0]!.path).to.equal('cursor');
    }
  });

  it('says how far it is: the present where nothing waits, else just before the last event folded', async () => {
    await stores.partition({}, { at: TEN });
    const idle = (await stores.get(windowsUrl(TEN, window(1)))).body;
    expect(idle['watermark']).to.equal(idle['asOf']);
    expect(Math.abs(Date.parse(idle['asOf'] as string) - Date.now())).to.be.below(5000);
    await stores.partition({}, { at: 1_700_000_000_000, waiting: 1 });
    const busy = (await stores.get(windowsUrl(TEN, window(1)))).body;
    expect(busy['watermark']).to.equal('2023-11-14T22:13:19.999Z');
  });

  const defects: readonly (readonly [what: string, query: string, path: string])[] = [
    ['no customerId', `from=${iso(TEN)}&to=${iso(TEN + 1)}`, 'customerId'],
    ['no from', `customerId=c1&to=${iso(TEN + 1)}`, 'from'],
    ['no to', `customerId=c1&from=${iso(TEN)}`, 'to'],
    ['a time without a zone', `customerId=c1&from=2023-11-20T10:00:00&to=${iso(TEN + 1)}`, 'from'],
    ['from at to', `customerId=c1&from=${iso(TEN)}&to=${iso(TEN)}`, 'from'],
    ['a limit of 0', `customerId=c1&from=${iso(TEN)}&to=${iso(TEN + 1)}&limit=0`, 'limit'],
    ['a limit of 1001', `customerId=c1&from=${iso(TEN)}&to=${iso(TEN + 1)}&limit=1001`, 'limit'],
    ['a broken cursor', `customerId=c1&from=${iso(TEN)}&to=${iso(TEN + 1)}&cursor=%00`, 'cursor'],
    ['an unknown parameter', `customerId=c1&from=${iso(TEN)}&to=${iso(TEN + 1)}&tenantId=t2`, 'query'],
    [
      'a parameter given twice',
      `customerId=c1&customerId=c1&from=${iso(TEN)}&to=${iso(TEN + 1)}`,
      'customerId',
    ],
    ['an empty customerId', `customerId=&from=${iso(TEN)}&to=${iso(TEN + 1)}`, 'customerId'],
  ];
  it('answers 422 to what is wrong, and names it', async () => {
    for (const [what, query, path] of defects) {
      const { status, body } = await stores.get(`/usage/windows?${query}`);
      expect([what, status, body['code']]).to.deep.equal([what, 422, 'invalid_request']);
      expect([what, (body['errors'] as { path: string }[])[0]!.path]).to.deep.equal([what, path]);
    }
    const year = await stores.get(windowsUrl(TEN, TEN + 367 * 86_400_000));
    expect([year.status, year.body['code']]).to.deep.equal([422, 'range_too_large']);
  });

  it('answers 503 for a document that a newer version wrote', async () => {
    await stores.partition({});
    await stores.hotWindow(TEN);
    const { keys } = stores.api.slots.ofCustomer('t1', 'c1');
    await stores.api.redis.set(keys.doc(`window:t1:${TEN}:c1`), '{"v":99}');
    const { status, body } = await stores.get(windowsUrl(TEN, window(1)));
    expect([status, body['code']]).to.deep.equal([503, 'store_unavailable']);
  });

  it('serves a page of 1,000 windows with five reads of index and documents, and none of Postgres', async () => {
    await stores.partition({});
    await stores.lockOut();
    for (let n = 0; n < 1000; n++) await stores.hotWindow(window(n));
    // The script is known, else it is sent once more.
    await stores.get(windowsUrl(TEN, window(1)));
    await stores.api.redis.config('RESETSTAT');
    const { body } = await stores.get(windowsUrl(TEN, window(1000), '&limit=1000'));
    expect(body['windows']).to.have.length(1000);
    const stats = await stores.api.redis.info('commandstats');
    const calls = (command: string): number =>
      Number(new RegExp(`cmdstat_${command}:calls=(\\d+)`).exec(stats)?.[1] ?? 0);
    // Pieces of 100, four of up to 250; the watermark is a script, too.
    expect([calls('zrangebyscore'), calls('evalsha'), calls('mget')]).to.deep.equal([5, 6, 0]);
  });
});

describe('usage queries: Postgres away', () => {
  it('answers from Redis what Redis alone knows, and says which part it cannot', async () => {
    const stores = await UsageStores.start({ DATABASE_POOL_MAX: '1' });
    try {
      await stores.partition({ bornAt: window(-5), coldUntil: window(2) });
      await stores.hotWindow(window(3));
      await stores.archivedWindow(window(0));
      await stores.lockOut();
      const hot = await stores.get(windowsUrl(window(2), window(9)));
      expect([hot.status, (hot.body['windows'] as object[]).length]).to.deep.equal([200, 1]);
      const cold = await stores.get(windowsUrl(TEN, window(9)));
      expect([cold.status, cold.body['code']]).to.deep.equal([503, 'store_unavailable']);
      expect(cold.body['detail']).to.match(
        /windows from 2023-11-20T10:00:00.000Z to 2023-11-20T10:01:00.000Z/,
      );
      expect(cold.headers.get('retry-after')).to.equal('1');
      const receipt = await stores.get('/usage/events/e1');
      expect([receipt.status, receipt.body['code']]).to.deep.equal([503, 'store_unavailable']);
      await stores.letIn();
      await until(5000, 'Postgres is asked again', async () => {
        return (await stores.get(windowsUrl(TEN, window(9)))).status === 200;
      });
    } finally {
      await stores.close();
    }
  });

  it('needs Postgres for what may be older than the partition', async () => {
    const stores = await UsageStores.start();
    try {
      await stores.lockOut();
      const statusFrom = async (from: number): Promise<number> =>
        (await stores.get(windowsUrl(from, window(9)))).status;
      // Redis was lost, and nothing was folded since.
      expect(await statusFrom(window(4))).to.equal(503);
      await stores.partition({ bornAt: window(4) });
      expect(await statusFrom(window(4))).to.equal(200);
      expect(await statusFrom(window(4) - 1)).to.equal(503);
    } finally {
      await stores.close();
    }
  });
});
