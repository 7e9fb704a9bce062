import { expect } from 'chai';
import { parseBudgetTimer } from '../../../rules/budgets.js';
import {
  admit,
  cancel,
  entries,
  evaluate,
  failOpen,
  granted,
  NOON,
  partitionWith,
  putBudgets,
  settle,
  used,
} from './budget-asking.js';
import { budgets, level } from './budget-messages.js';
import { SETTINGS } from './budget-partition.js';

const CHARGE = { ...SETTINGS, holdExpiry: 'charge' as const };
const END = NOON + 30_000;

describe('a budget window', () => {
  it('is opened by the first who asks, aligned to the epoch, and reset at its end', () => {
    const to = partitionWith();
    expect(to.state()!.window).to.equal(null);
    evaluate(to, NOON + 12_345, { keyed: false });
    expect(to.state()!.window).to.include({ start: NOON, end: END });
    to.idle(END - 1);
    expect(used(to)).to.deep.equal([100, 0]);
    to.idle(END);
    expect(to.state()).to.include({ window: null, entries: 2, lastEnd: END });
    expect(to.ledger().at(-1)).to.deep.equal({
      tenant: 'acme',
      epoch: NOON,
      seq: 2,
      at: END,
      kind: 'reset',
      window: NOON,
      path: [],
      held: 0,
      settled: 0,
    });
    expect(to.counts('budget_resets')).to.equal(1);
    expect(to.timers.size).to.equal(0);
    evaluate(to, END + 90_001, { keyed: false });
    expect(to.state()!.window).to.include({ start: END + 90_000, end: END + 120_000, entries: 1 });
  });

  it('keeps the counts of those it refused', () => {
    const to = partitionWith(budgets({ levels: [level('global', null, 100), level('job', 'global', 100)] }));
    failOpen(to, NOON, { pipeline: 'job', estimated: 1000, settled: true });
    admit(to, NOON, { pipeline: 'job', estimated: 1, keyed: false });
    to.idle(END);
    expect(to.snapshots()[0]!.levels).to.deep.equal([
      { name: 'global', limit: 100, settled: 1000, admitted: 1, degraded: 0, refused: 1 },
      { name: 'job', limit: 100, settled: 1000, admitted: 1, degraded: 0, refused: 0 },
    ]);
  });

  it('is emitted at its end where nothing is held, and leaves no document', () => {
    const to = partitionWith();
    settle(to, NOON, granted(to, NOON, { estimated: 851 }), 60);
    to.idle(END);
    expect(to.snapshots()).to.deep.equal([
      {
        tenant: 'acme',
        epoch: NOON,
        start: NOON,
        end: END,
        revision: 1,
        version: 1,
        entries: 3,
        levels: [
          { name: 'global', limit: 10_000, settled: 60, admitted: 1, degraded: 1, refused: 0 },
          { name: 'monitoring', limit: 1000, settled: 60, admitted: 1, degraded: 1, refused: 0 },
        ],
      },
    ]);
    expect(to.documentNames('budget-window:')).to.deep.equal([]);
  });

  it('is kept while holds are open and emitted when the last has ended, with the limits it ended with', () => {
    const to = partitionWith();
    const [one, two] = [granted(to, NOON), granted(to, NOON)];
    putBudgets(to, NOON + 1, budgets({ levels: [level('global', null, 20_000)] }));
    to.idle(NOON + 29_999);
    const held = granted(partitionWith(), NOON);
    expect(held.status).to.equal('held');
    cancel(to, NOON + 29_999, two);
    const late = partitionWith();
    const [first, second] = [granted(late, NOON + 29_999), granted(late, NOON + 29_999)];
    late.idle(END);
    expect(late.past(NOON)).to.deep.include({ holds: 2, revision: 0, keepUntil: null, version: 1 });
    expect(late.snapshots()).to.deep.equal([]);
    putBudgets(late, END, budgets({ levels: [level('global', null, 1)] }));
    settle(late, END + 1, first, 60);
    expect(late.snapshots()).to.deep.equal([]);
    cancel(late, END + 2, second);
    expect(late.snapshots()).to.have.lengthOf(1);
    expect(late.snapshots()[0]).to.include({ revision: 1, version: 1, entries: 5 });
    expect(late.snapshots()[0]!.levels.map(({ limit, settled }) => [limit, settled])).to.deep.equal([
      [10_000, 60],
      [1000, 60],
    ]);
    expect(late.past(NOON)).to.equal(null);
    settle(to, NOON + 29_999, one, 100);
    to.idle(END);
    // A level that was removed meanwhile has no limit.
    expect(to.snapshots()[0]!.levels.map(({ name, limit }) => [name, limit])).to.deep.equal([
      ['global', 20_000],
      ['monitoring', null],
    ]);
  });

  it('is kept while a late settle may give something back, and emitted again when it did', () => {
    const to = partitionWith(budgets(), { ...CHARGE, keepMs: 1000, dedupeMs: 2000 });
    const [one, two] = [granted(to, NOON, { holdMs: 1 }), granted(to, NOON, { holdMs: 1 })];
    to.idle(END);
    expect(to.past(NOON)).to.include({ holds: 0, refundable: 2, revision: 1, keepUntil: END + 2000 });
    // Those that expired are readable for 2 s from then: only from a later window could they still be settled.
    expect(settle(to, END, one, 0)).to.deep.equal({ kind: 'not_found' });
    expect(two.granted).to.equal(100);

    const kept = partitionWith(budgets(), CHARGE);
    const [early, late] = [granted(kept, NOON, { holdMs: 1 }), granted(kept, NOON, { holdMs: 1 })];
    kept.idle(END);
    settle(kept, END + 1, early, 10);
    expect(kept.past(NOON)).to.include({ refundable: 1, revision: 2, keepUntil: END + 3_600_000 });
    cancel(kept, END + 2, late);
    expect(kept.past(NOON)).to.equal(null);
    expect(
      kept.snapshots().map(({ revision, entries: of, levels }) => [revision, of, levels[1]!.settled]),
    ).to.deep.equal([
      [1, 5, 200],
      [2, 6, 110],
      [3, 7, 10],
    ]);
  });

  it('ends its holds by themselves, long after it was reset', () => {
    const to = partitionWith(budgets(), CHARGE);
    granted(to, NOON + 10, { holdMs: 100_000 });
    to.idle(NOON + 100_009);
    expect(to.past(NOON)).to.include({ holds: 1, revision: 0 });
    to.idle(NOON + 100_010);
    expect(to.past(NOON)).to.include({ holds: 0, refundable: 1, revision: 1, keepUntil: NOON + 3_700_010 });
    expect(entries(to).at(-1)).to.deep.equal(['expire', 0, -100, 100]);
  });

  it('does not end by a timer that comes too early, nor without one open', () => {
    const to = partitionWith();
    evaluate(to, NOON, { keyed: false });
    const before = to.texts();
    to.timers.clear();
    to.fire('reset:acme', NOON);
    expect([...to.timers]).to.deep.equal([['reset:acme', END]]);
    expect(to.commit().texts()).to.deep.equal(before);
    to.idle(END);
    const ended = to.texts();
    to.fire('reset:acme', END);
    expect(to.commit().texts()).to.deep.equal(ended);
    expect(to.timers.size).to.equal(0);
  });

  it('never begins before the last one ended, however long windows are by then', () => {
    const to = partitionWith(budgets({ windowMs: 10_000 }));
    evaluate(to, NOON, { keyed: false });
    to.idle(NOON + 10_000);
    putBudgets(to, NOON + 11_000, budgets({ windowMs: 60_000 }));
    evaluate(to, NOON + 12_000, { keyed: false });
    expect(to.state()!.window).to.include({ start: NOON + 10_000, end: NOON + 60_000 });
  });
});

describe('a timer of budgets', () => {
  it('is a reset or a hold, and nothing else', () => {
    expect(parseBudgetTimer('reset:acme')).to.deep.equal({ kind: 'reset', tenant: 'acme' });
    expect(parseBudgetTimer('admission:a_-1:abcd-efgh_ijklmn')).to.deep.equal({
      kind: 'hold',
      tenant: 'a_-1',
      key: 'abcd-efgh_ijklmn',
    });
    for (const id of [
      '',
      'reset',
      'reset:',
      'reset:a:b',
      'admission:a',
      'admission:a:',
      'admission:a:b:c',
      'x:a',
    ]) {
      expect(() => parseBudgetTimer(id), id).to.throw(`unknown timer ${id}`);
    }
  });
});
