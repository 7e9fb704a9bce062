import { expect } from 'chai';
import { readState, writeState } from '../../../consumer/reconcile/recent-state.js';
import { windowDocument } from '../../../shared/keys.js';
import { ReconcileUnderTest, shown, T0 } from './reconcile-under-test.js';

const MINUTE_MS = 60_000;
const AGREE = { pending: 0, leftOut: 0, outside: 0, drifted: 0, drift: [] };

describe('reconciler: recent windows', () => {
  let weir: ReconcileUnderTest;

  beforeEach(async () => {
    weir = await ReconcileUnderTest.start();
  });

  afterEach(() => weir.close());

  const withoutTime = ({ at: _at, ...result }: Awaited<ReturnType<typeof weir.recent>>['result']) => result;

  it('compares what has come since the last time, and a little more', async () => {
    for (let minute = 0; minute < 9; minute += 1) weir.count(minute * MINUTE_MS);
    await (await weir.archive()).store();
    const first = await weir.recent();
    expect(withoutTime(first.result)).to.deep.equal({ ...AGREE, comparedWindows: 9 });
    weir.count(9 * MINUTE_MS);
    await (await weir.archive()).store();
    const second = await weir.recent(first.state);
    // The new one, that of a minute before, which was open, and the one before that.
    expect(withoutTime(second.result)).to.deep.equal({ ...AGREE, comparedWindows: 3 });
    expect(second.state.verified.get(0)).to.include({ ms: T0 + 9 * MINUTE_MS, calm: true });
  });

  it('looks at nothing again while nothing happens', async () => {
    await (await weir.count(0).idle(MINUTE_MS).archive()).store();
    const first = await weir.recent();
    expect(withoutTime(first.result)).to.deep.equal({ ...AGREE, comparedWindows: 1 });
    const second = await weir.recent(first.state);
    expect(withoutTime(second.result)).to.deep.equal({ ...AGREE, comparedWindows: 0 });
  });

  it('looks again at windows that were ahead of the archive', async () => {
    weir.count(0).count(1000);
    await weir.archive(1);
    await weir.store();
    const first = await weir.recent(undefined, { runMsMax: 400 });
    expect(withoutTime(first.result)).to.deep.equal({ ...AGREE, comparedWindows: 0, pending: 1 });
    await weir.archive();
    const second = await weir.recent(first.state);
    expect(withoutTime(second.result)).to.deep.equal({ ...AGREE, comparedWindows: 1 });
  });

  it('compares a window whose event came long before it', async () => {
    weir.count(0, { timestamp: 10 * MINUTE_MS });
    for (let minute = 1; minute <= 12; minute += 1) weir.count(minute * MINUTE_MS, { customer: 'c2' });
    await (await weir.archive()).store();
    const { state } = await weir.recent();
    weir.count(12 * MINUTE_MS + 1000, { customer: 'c2' });
    await (await weir.archive()).store();
    await weir.postgres.query(
      `UPDATE aggregation_windows SET total_calls = 2 WHERE window_start = $1 AND customer_id =
         (SELECT id FROM customers WHERE external_id = 'c1')`,
      [new Date(T0 + 10 * MINUTE_MS)],
    );
    const { result } = await weir.recent({ ...state, verified: new Map([[0, verifiedAt(11)]]) });
    expect(shown(result.drift)).to.deep.equal({ 'acme c1 +20': ['calls: -/2/1'] });
  });

  it('goes on reporting a window that disagrees until it agrees', async () => {
    await (
      await weir
        .count(0)
        .count(10 * MINUTE_MS)
        .archive()
    ).store();
    const name = windowDocument('acme', T0, 'c1');
    await weir.tamper(name, (document) => {
      document['tokens'] = 11;
    });
    const told: unknown[] = [];
    const found = await weir.recent(undefined, { onDifference: (difference) => told.push(difference) });
    expect(shown(found.result.drift)).to.deep.equal({ 'acme c1 +0': ['tokens: 11/-/10'] });
    expect(told).to.deep.equal(found.result.drift);
    weir.count(30 * MINUTE_MS);
    await weir.archive();
    const again = await weir.recent(found.state);
    expect(again.result.drifted).to.equal(1);
    await weir.store();
    const healed = await weir.recent(again.state);
    expect(healed.result.drifted).to.equal(0);
    expect(healed.state.suspects).to.deep.equal([]);
  });

  it('stops after its time, and the next run goes on there, however long it has to look back', async () => {
    weir.countTogether(Array.from({ length: 600 }, (_, i) => ({ at: i * 10, customer: `c${i}` })));
    await (await weir.archive()).store();
    // A comparison is of 200 windows, and one is always made.
    const first = await weir.recent(undefined, { runMsMax: 1 });
    expect(withoutTime(first.result)).to.deep.equal({ ...AGREE, comparedWindows: 200, leftOut: 400 });
    expect(first.state.verified.get(0)).to.include({ ms: T0 + 1999, calm: false });
    const second = await weir.recent(first.state, { runMsMax: 1 });
    expect(second.state.verified.get(0)).to.include({ ms: T0 + 3999, calm: false });
    const third = await weir.recent(second.state);
    expect(withoutTime(third.result)).to.deep.equal({ ...AGREE, comparedWindows: 600 });
    expect(third.state.verified.get(0)).to.include({ ms: T0 + 5990, calm: true });
  });

  it('hands its state on through Redis, and begins anew where it cannot read it', async () => {
    await (await weir.count(0).archive()).store();
    const { state } = await weir.recent();
    const suspects = [{ tenant: 't', customer: 'c:1', customerId: null, partition: 3, start: T0 }];
    await writeState(weir.redis, weir.keys, { ...state, suspects });
    expect(await readState(weir.redis, weir.keys)).to.deep.equal({ ...state, suspects });
    await weir.redis.hset(weir.keys.reconciliation, 'state', '{"v":2}');
    expect(await readState(weir.redis, weir.keys)).to.deep.equal({ verified: new Map(), suspects: [] });
  });

  function verifiedAt(minute: number) {
    return { ms: T0 + minute * MINUTE_MS, stream: '0-0', outbox: '0-0', calm: false };
  }
});
