import { expect } from 'chai';
import { WeirFixture } from '../../../support/weir-fixture.js';
import { ISO } from '../people.js';
import { Caller, type Problem, type WindowView, windowsPath } from './caller.js';
import { QUICK, windowToCome } from './quick.js';
import { iso, TENANT, usage, usages } from './usage.js';

describe('contract: GET /usage/windows', () => {
  let weir: WeirFixture;
  let caller: Caller;
  before(async () => {
    weir = await WeirFixture.start({ postgres: true, settings: { ...QUICK, REVISION_DELAY_MS: '1000' } });
    caller = new Caller(weir.http);
  });
  after(() => weir.close());

  const isClosed = ({ status }: WindowView) => status === 'closed';
  const calls = ({ aggregations }: WindowView) => aggregations.totalCalls;

  it('shows a window open, then closed; a burst of late events makes one revision more', async () => {
    const start = windowToCome();
    await caller.postAll(usages(3, 'life', { timestamp: iso(start) }));
    const open = await caller.windowWhen('life', start, 'complete', (window) => calls(window) === 3);
    expect([open.status, open.revision, open.lateEvents]).to.deep.equal(['open', 0, 0]);
    const closed = await caller.windowWhen('life', start, 'closed', isClosed);
    expect([calls(closed), closed.revision, closed.lateEvents]).to.deep.equal([3, 1, 0]);
    for (const burst of [1, 2]) {
      await Promise.all(
        Array.from({ length: 20 }, () => caller.postAll(usages(5, 'life', { timestamp: iso(start + 999) }))),
      );
      const settled = await caller.windowWhen(
        'life',
        start,
        'revised',
        (window) => calls(window) === 3 + 100 * burst && !window.settling,
      );
      expect([settled.status, settled.revision, settled.lateEvents]).to.deep.equal([
        'revised',
        1 + burst,
        100 * burst,
      ]);
    }
  });

  it('an event for a window that closed without any makes its first revision', async () => {
    const start = windowToCome() - 60_000;
    await caller.post(usage('empty', { timestamp: iso(start) }));
    const made = await caller.windowWhen('empty', start, 'settled', ({ settling }) => !settling);
    expect([made.status, made.revision, made.lateEvents, calls(made)]).to.deep.equal(['revised', 2, 1, 1]);
  });

  it('a producer with a fast clock closes nobody’s window', async () => {
    const start = windowToCome();
    await caller.post(usage('fast', { timestamp: iso(Date.now() + 3_500_000) }));
    await caller.post(usage('fast', { timestamp: iso(start) }));
    const window = await caller.windowWhen('fast', start, 'there', () => true);
    expect([window.status, window.lateEvents]).to.deep.equal(['open', 0]);
  });

  it('windows are 30 s by default and aligned to the epoch, whatever zone a timestamp is written in', async () => {
    const other = await WeirFixture.start();
    try {
      const start = windowToCome(30_000);
      const teller = new Caller(other.http);
      const local = (ms: number) => iso(ms + 5.5 * 3_600_000).replace('Z', '+05:30');
      for (const timestamp of [iso(start), local(start + 29_999), iso(start + 30_000), iso(start - 1)]) {
        await teller.post(usage('aligned', { timestamp }));
      }
      await teller.counted('aligned', 4);
      const windows = await teller.windows('aligned');
      expect(windows.map((window) => [window.windowStart, window.windowEnd, calls(window)])).to.deep.equal([
        [iso(start - 30_000), iso(start), 1],
        [iso(start), iso(start + 30_000), 2],
        [iso(start + 30_000), iso(start + 60_000), 1],
      ]);
    } finally {
      await other.close();
    }
  });

  it('shows windows that start in [from, to), ascending, page by page, each once', async () => {
    const first = windowToCome() - 600_000;
    const starts = Array.from({ length: 25 }, (_, i) => first + i * 10_000);
    await caller.postAll([...starts].reverse().map((start) => usage('pages', { timestamp: iso(start + 7) })));
    await caller.counted('pages', 25);
    const [from, to] = [starts[2]!, starts[24]!];
    for (const limit of [1, 7, 22, 100]) {
      const seen: string[] = [];
      let cursor: string | null | undefined;
      while (cursor !== null) {
        const more = cursor === undefined ? { limit } : { limit, cursor };
        const { windows, nextCursor } = await caller.page('pages', from, to, more);
        expect(windows.length).to.be.at.most(limit);
        // A page may be short only at the end.
        if (nextCursor !== null) expect(windows.length).to.equal(limit);
        seen.push(...windows.map(({ windowStart }) => windowStart));
        cursor = nextCursor;
      }
      expect(seen, `limit ${limit}`).to.deep.equal(starts.slice(2, 24).map(iso));
    }
  });

  it('says how far it has come: everything accepted up to the watermark is in the answer', async () => {
    await caller.post(usage('mark'));
    await weir.usage.drained();
    const accepted = Date.now();
    const now = Date.now();
    const { status, body } = await caller.get<{ watermark: string; asOf: string; windows: WindowView[] }>(
      windowsPath('mark', now - 60_000, now + 60_000),
    );
    expect(status).to.equal(200);
    expect(body.watermark).to.match(ISO);
    expect(body.asOf).to.match(ISO);
    // Redis runs on this machine: its clock is ours.
    expect(Date.parse(body.watermark)).to.be.at.least(accepted - 1);
    expect(body.watermark <= body.asOf).to.equal(true);
    expect(body.windows.map(calls)).to.deep.equal([1]);
  });

  it('answers an unknown customer with no windows, and wrong queries with 422', async () => {
    const now = Date.now();
    expect((await caller.page('nobody', now - 1000, now)).windows).to.deep.equal([]);
    const range = `from=${iso(now - 1000)}&to=${iso(now)}`;
    const wrong = [
      range,
      `customerId=&${range}`,
      `customerId=c&customerId=d&${range}`,
      `customerId=c&from=${iso(now)}`,
      `customerId=c&from=${iso(now)}&to=${iso(now - 1)}`,
      'customerId=c&from=yesterday&to=today',
      `customerId=c&${range}&limit=0`,
      `customerId=c&${range}&limit=x`,
      `customerId=c&${range}&cursor=nonsense`,
    ];
    for (const query of wrong) {
      const { status, body } = await caller.get<Problem>(`/usage/windows?${query}`);
      expect([query, status, body.code]).to.deep.equal([query, 422, 'invalid_request']);
    }
    const anonymous = await weir.http.get<Problem>(`/usage/windows?customerId=c&${range}`);
    expect([anonymous.status, anonymous.body.code]).to.deep.equal([422, 'invalid_request']);
    expect(TENANT).to.equal(caller.tenant);
  });
});
