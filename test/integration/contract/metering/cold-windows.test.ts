import { expect } from 'chai';
import { until } from '../../../support/redis-server.js';
import { WeirFixture } from '../../../support/weir-fixture.js';
import { Caller, type WindowView } from './caller.js';
import { QUICKLY_COLD, windowToCome } from './quick.js';
import { iso, TENANT, usage, usages } from './usage.js';

describe('contract: windows that have left Redis', () => {
  let weir: WeirFixture;
  let caller: Caller;
  before(async () => {
    weir = await WeirFixture.start({ postgres: true, workers: 2, settings: QUICKLY_COLD });
    caller = new Caller(weir.http);
  });
  after(() => weir.close());

  const calls = ({ aggregations }: WindowView) => aggregations.totalCalls;

  async function cold(customer: string): Promise<void> {
    await until(15_000, 'the window has left Redis', async () => {
      return (await weir.usage.hotWindows(TENANT, customer)).length === 0;
    });
  }

  it('is corrected in Postgres by late events: exact, one revision for what comes together, receipts say late', async () => {
    const start = windowToCome();
    const onTime = { timestamp: iso(start), metadata: { tokens: 100, latencyMs: 10, model: 'm' } };
    await caller.postAll(usages(3, 'corrected', onTime));
    await caller.windowWhen('corrected', start, 'closed', ({ status }) => status === 'closed');
    await cold('corrected');
    const late = { timestamp: iso(start + 500), metadata: { tokens: 7, inputTokens: 3, latencyMs: 50.5 } };
    await caller.post(usage('corrected', { ...late, eventId: 'late-1' }));
    const second = await caller.windowWhen('corrected', start, 'corrected', (window) => calls(window) === 4);
    expect([second.status, second.revision, second.lateEvents]).to.deep.equal(['revised', 2, 1]);
    expect(second.aggregations).to.deep.equal({
      totalCalls: 4,
      totalTokens: 307,
      totalInputTokens: 3,
      totalOutputTokens: 0,
      avgLatencyMs: 20.125,
      byEndpoint: { '/api/completion': { calls: 4, tokens: 307 } },
      byModel: { m: { calls: 3, tokens: 300 } },
    });
    // 200 events in one batch and again, sent twice: 400 calls in one transaction or few.
    const burst = [...usages(200, 'corrected', late), ...usages(200, 'corrected', late)];
    await caller.postAll(burst);
    await caller.postAll(burst);
    const third = await caller.windowWhen('corrected', start, 'complete', (window) => calls(window) === 404);
    expect([third.lateEvents, third.aggregations.totalTokens]).to.deep.equal([401, 307 + 2800]);
    expect(third.revision).to.be.within(3, 6);
    await weir.usage.drained();
    await weir.usage.archived();
    expect(calls((await caller.window('corrected', start))!)).to.equal(404);
    const receipt = await caller.receiptWhen('late-1');
    expect(receipt).to.include({ status: 'late', windowStart: iso(start), windowRevision: 2, duplicates: 0 });
    expect(await weir.usage.hotWindows(TENANT, 'corrected')).to.deep.equal([]);
  });

  it('is made in Postgres by an event that is older than Redis keeps windows', async () => {
    const start = windowToCome() - 600_000;
    await caller.post(usage('old', { eventId: 'old', timestamp: iso(start + 1) }));
    const made = await caller.windowWhen('old', start, 'there', () => true);
    expect([made.status, made.revision, made.lateEvents, calls(made)]).to.deep.equal(['revised', 2, 1, 1]);
    expect(await caller.receiptWhen('old')).to.include({ status: 'late', windowRevision: 2 });
    expect(await weir.usage.hotWindows(TENANT, 'old')).to.deep.equal([]);
    // The counters are of the event's own time.
    expect((await caller.current('old')).minute.calls).to.equal(0);
  });

  it('hot and cold windows come in one list, in order, page by page', async () => {
    const past = windowToCome() - 600_000;
    const oldStarts = Array.from({ length: 5 }, (_, i) => past + i * 1000);
    await caller.postAll(oldStarts.map((start) => usage('mixed', { timestamp: iso(start) })));
    for (const start of oldStarts) await caller.windowWhen('mixed', start, 'there', () => true);
    const ahead = windowToCome() + 60_000;
    const newStarts = Array.from({ length: 5 }, (_, i) => ahead + i * 1000);
    await caller.postAll(newStarts.map((start) => usage('mixed', { timestamp: iso(start) })));
    await caller.counted('mixed', 10);
    const seen: string[] = [];
    let cursor: string | null | undefined;
    while (cursor !== null) {
      const more = cursor === undefined ? { limit: 3 } : { limit: 3, cursor };
      const page = await caller.page('mixed', past, ahead + 10_000, more);
      seen.push(...page.windows.map(({ windowStart }) => windowStart));
      cursor = page.nextCursor;
    }
    expect(seen).to.deep.equal([...oldStarts, ...newStarts].map(iso));
  });
});
