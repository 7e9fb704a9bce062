import { expect } from 'chai';
import type { RecentOptions } from '../../../consumer/reconcile/recent-run.js';
import { type RecentState, readState, writeState } from '../../../consumer/reconcile/recent-state.js';
import { windowDocument } from '../../../shared/keys.js';
import { ReconcileUnderTest, shown, T0 } from './reconcile-under-test.js';

const MINUTE_MS = 60_000;
const AGREE = { pending: 0, leftOut: 0, lagSeconds: 0, outside: 0, drifted: 0, drift: [] };

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
    expect(withoutTime(first.result)).to.deep.equal({
      ...{ ...AGREE, comparedWindows: 200, leftOut: 400, lagSeconds: 3.991 },
    });
    expect(first.state.verified.get(0)).to.include({ ms: T0 + 1999, calm: false });
    const second = await weir.recent(first.state, { runMsMax: 1 });
    expect(second.state.verified.get(0)).to.include({ ms: T0 + 3999, calm: false });
    const third = await weir.recent(second.state);
    expect(withoutTime(third.result)).to.deep.equal({ ...AGREE, comparedWindows: 600 });
    expect(third.state.verified.get(0)).to.include({ ms: T0 + 5990, calm: true });
  });

  it('gets on, and to the end, with more to be looked at again than its limits hold', async () => {
    weir.countTogether(Array.from({ length: 60 }, (_, i) => ({ at: i * 10, customer: `c${i}` })));
    weir.count(20_000, { customer: 'wrong' }).idle(10 * MINUTE_MS);
    await (await weir.archive()).store();
    await weir.postgres.query('UPDATE usage_events SET tokens = 11 WHERE accepted_at >= $1', [
      new Date(T0 + 20_000),
    ]);
    // All of the first events lie within the overlap, and are more than a look can hold.
    const before = { verified: new Map([[0, { ...verifiedAt(0), ms: T0 + 19_000 }]]), suspects: [] };
    for (const limits of [
      { rowsMax: 7, windowsMax: 1000 },
      { rowsMax: 1000, windowsMax: 7 },
    ]) {
      const { result, state } = await weir.recent(before, { limits });
      expect({ ...result, drift: [] }).to.include({
        comparedWindows: 61,
        leftOut: 0,
        lagSeconds: 0,
        drifted: 1,
      });
      expect(state.verified.get(0)).to.include({ ms: T0 + 20_000, calm: true });
    }
  });

  it('gets beyond a single ms that is more than its limits hold, and says what it left out', async () => {
    weir.countTogether(Array.from({ length: 60 }, (_, i) => ({ at: 1000, customer: `c${i}` })));
    weir.count(2000, { customer: 'last' });
    await (await weir.archive()).store();
    const of = async (limits: RecentOptions['limits']) => {
      const { result, state } = await weir.recent(undefined, { limits: limits! });
      const { comparedWindows, leftOut } = result;
      return {
        comparedWindows,
        leftOut,
        ms: state.verified.get(0)!.ms - T0,
        calm: state.verified.get(0)!.calm,
      };
    };
    expect(await of({ rowsMax: 1000, windowsMax: 7 })).to.deep.equal({
      ...{ comparedWindows: 8, leftOut: 53, ms: 2000, calm: false },
    });
    // How many there are that it did not even look at is not known.
    expect(await of({ rowsMax: 7, windowsMax: 1000 })).to.deep.equal({
      ...{ comparedWindows: 8, leftOut: 1, ms: 2000, calm: false },
    });
    expect(await of({ rowsMax: 61, windowsMax: 61 })).to.include({ leftOut: 0, calm: true });
  });

  it('does not let time end within a single ms', async () => {
    weir.countTogether(Array.from({ length: 600 }, (_, i) => ({ at: 1000, customer: `c${i}` })));
    weir.count(2000, { customer: 'last' });
    await (await weir.archive()).store();
    const { result, state } = await weir.recent(undefined, { runMsMax: 1 });
    expect(withoutTime(result)).to.deep.equal({
      ...{ ...AGREE, comparedWindows: 600, leftOut: 1, lagSeconds: 0.001 },
    });
    expect(state.verified.get(0)).to.include({ ms: T0 + 1999 });
  });

  it('looks again at all there is in as many runs as it takes, and is calm then', async () => {
    weir.countTogether(Array.from({ length: 900 }, (_, i) => ({ at: 1000 + i, customer: `c${i}` })));
    weir.idle(10 * MINUTE_MS);
    await (await weir.archive()).store();
    await weir.postgres.query(`UPDATE usage_events SET tokens = 11 WHERE customer_id =
      (SELECT id FROM customers WHERE external_id = 'c888')`);
    const verified = { ...verifiedAt(0), ms: T0 + 1899 };
    let state: RecentState = { verified: new Map([[0, verified]]), suspects: [] };
    let drifted = 0;
    let runs = 0;
    for (let last = -1; !state.verified.get(0)!.calm && runs < 20; runs += 1) {
      const run = await weir.recent(state, { runMsMax: 1 });
      ({ state } = run);
      drifted = Math.max(drifted, run.result.drifted);
      const { ms, calm, again } = state.verified.get(0)!;
      expect(ms).to.equal(T0 + 1899);
      if (calm) break;
      expect(run.result.leftOut).to.be.greaterThan(0);
      // One of the two gets on in every run.
      const walked = again!.ms + again!.row.start + again!.row.id;
      expect(walked).to.be.greaterThan(last);
      last = walked;
    }
    expect(state.verified.get(0)!.calm).to.equal(true);
    expect(drifted).to.equal(1);
  });

  it('skips nothing of what was to be looked at again, though it gets on meanwhile', async () => {
    weir.countTogether(Array.from({ length: 900 }, (_, i) => ({ at: i, customer: `c${i}` })));
    await (await weir.archive()).store();
    const opened = await weir.recent();
    expect(opened.result).to.include({ comparedWindows: 900, drifted: 0 });
    // They close, and one is wrong then; a run without time looks at what is new: that is long after.
    weir.idle(5 * MINUTE_MS).count(9 * MINUTE_MS, { customer: 'new' });
    await (await weir.archive()).store();
    await weir.postgres.query(`UPDATE aggregation_windows SET total_tokens = 11 WHERE customer_id =
      (SELECT id FROM customers WHERE external_id = 'c888')`);
    const hurried = await weir.recent(opened.state, { runMsMax: 1 });
    expect(hurried.state.verified.get(0)!.ms).to.equal(T0 + 9 * MINUTE_MS);
    expect(hurried.result.lagSeconds).to.be.within(460, 470);
    weir.count(18 * MINUTE_MS, { customer: 'new' });
    await (await weir.archive()).store();
    const { result } = await weir.recent(hurried.state);
    expect(result).to.include({ drifted: 1 });
  });

  it('hands its state on through Redis, and begins anew where it cannot read it', async () => {
    await (await weir.count(0).archive()).store();
    weir.count(MINUTE_MS, { customer: 'c2' });
    await weir.archive();
    const { state } = await weir.recent(undefined, { runMsMax: 1 });
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
