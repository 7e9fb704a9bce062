import { expect } from 'chai';
import { encodeBudget, encodePastWindow } from '../../../shared/state/budget-codec.js';
import { BUDGET_WINDOW_MS_MAX, WINDOW_LEVELS_MAX } from '../../../shared/state/budget-config.js';
import {
  admit,
  cancel,
  entries,
  evaluate,
  freshId,
  granted,
  NOON,
  partitionWith,
  putBudgets,
  settle,
  used,
} from './budget-asking.js';
import { budgetMessage, budgets, level, request } from './budget-messages.js';
import { BudgetPartition, SETTINGS } from './budget-partition.js';

const DAY = 86_400_000;
const END = NOON + 30_000;

describe('a window whose timer was lost', () => {
  const lost = (to: BudgetPartition) => to.run([{ kind: 'timer_lost', at: NOON, tenant: 'acme' }]);

  it('ends before anything else is decided', () => {
    const to = partitionWith();
    evaluate(to, NOON, { estimated: 800, keyed: false });
    lost(to);
    expect(admit(to, END, { estimated: 800 })).to.include({ kind: 'admitted' });
    expect(entries(to)).to.deep.equal([
      ['grant', 0, 0, 800],
      ['reset', 0, 0, 0],
      ['grant', 30_000, 800, 0],
    ]);
    expect(to.snapshots()).to.have.lengthOf(1);
    expect(to.timers.get('reset:acme')).to.equal(END + 30_000);
  });

  it('ends with the last of its holds, whether that is settled or expires', () => {
    for (const holdMs of [40_000, 90_000]) {
      const to = partitionWith();
      const admission = granted(to, NOON, { holdMs });
      lost(to).idle(NOON + 45_000);
      settle(to, NOON + 45_000, admission, 60);
      expect(
        to
          .ledger()
          .slice(0, 3)
          .map(({ kind }) => kind),
      ).to.include.members(['grant', 'reset']);
      expect(to.snapshots()).to.have.lengthOf(1);
      expect([to.state()!.window?.start ?? END, to.state()!.pastHolds]).to.deep.equal([END, 0]);
      expect(to.documentNames('budget-window:')).to.deep.equal([]);
    }
  });

  it('is left as it is where the message is none, and ends with the next', () => {
    const to = partitionWith();
    granted(to, NOON);
    lost(to);
    const none = budgetMessage('budgets_put', { config: budgets({ levels: [] }), actor: 'a', reason: 'b' });
    const next = budgetMessage('cancel', { admission: freshId() });
    // In one step with one that changed the state, and one that changes it after.
    const first = budgetMessage('evaluate', request({ admission: freshId(), keyed: false }));
    to.run([
      { kind: 'message', at: END - 1, message: first },
      { kind: 'message', at: END, message: none },
      { kind: 'message', at: END, message: next },
    ]);
    expect(to.deadLetters).to.deep.equal(['the first level is not a root']);
    expect(entries(to).map(([kind]) => kind)).to.deep.equal(['grant', 'grant', 'expire', 'reset']);
  });
});

describe('levels that come and go while a window is open', () => {
  const MONTH = BUDGET_WINDOW_MS_MAX;
  const root = level('global', null, 1_000_000_000);
  const named = (n: number, many = 255) => [
    root,
    ...Array.from({ length: many }, (_, i) => level(`job-${n}-${i}`.padEnd(64, 'x'), 'global', 1_000_000)),
  ];
  /** One admission of each pipeline, in one step. */
  const useAll = (to: BudgetPartition, at: number) => {
    const asked = to
      .state()!
      .config!.levels.slice(1)
      .map(({ name: pipeline }) => request({ admission: freshId(), pipeline, holdMs: 1000 }));
    to.run(asked.map((data) => ({ kind: 'message', at, message: budgetMessage('admit', data) })));
    return asked.map(({ admission }) => admission);
  };

  it('are refused beyond 1024 in all, and its documents stay small', () => {
    const to = new BudgetPartition({ ...SETTINGS, windowMs: MONTH });
    for (const n of [1, 2, 3, 4]) {
      expect(putBudgets(to, NOON, budgets({ levels: named(n) })).kind).to.equal('applied');
      useAll(to, NOON);
    }
    const { size } = to.state()!.window!.levels;
    expect(size).to.equal(1021);
    const { end } = to.state()!.window!;
    const before = to.texts();
    expect(putBudgets(to, NOON, budgets({ levels: named(5, 4) }))).to.deep.equal({
      kind: 'too_many_levels',
      resetsAt: end,
    });
    const restored = budgets({ levels: named(5, 4), version: 9, appliedAt: NOON + 1 });
    expect(putBudgets(to, NOON, restored, { restored: true }).kind).to.equal('too_many_levels');
    expect(to.texts()).to.deep.equal(before);
    expect(putBudgets(to, NOON, budgets({ levels: named(5, 3) })).kind).to.equal('applied');
    expect(encodeBudget(to.state()!).length).to.be.lessThan(200_000);
    // All of what was held expires, some of it in the window that is over.
    to.run([{ kind: 'settings', at: NOON, settings: { ...SETTINGS, holdExpiry: 'charge' } }]).idle(end);
    expect(encodePastWindow(to.past(to.ledger()[0]!.window)!).length).to.be.lessThan(200_000);
    expect(to.state()!.window).to.equal(null);
    expect(putBudgets(to, end, budgets({ levels: named(5) })).kind).to.equal('applied');
  });

  it('keep the limits that they ended with, in the window', () => {
    const to = partitionWith();
    granted(to, END - 1);
    putBudgets(to, END - 1, budgets({ levels: [level('global', null, 77), level('new', 'global', 5)] }));
    to.idle(END);
    const limits = [...to.past(NOON)!.levels].map(([name, { limit }]) => [name, limit]);
    expect(limits).to.deep.equal([
      ['global', 77],
      ['monitoring', null],
    ]);
  });

  it('get no late use of a window that is full, the levels above do', () => {
    const to = new BudgetPartition();
    const late: string[] = [];
    for (let n = 0; n < 5; n += 1) {
      const at = NOON + n * 30_000;
      putBudgets(to, at, budgets({ levels: named(n) }));
      late.push(...useAll(to, at));
    }
    const at = NOON + 5 * 30_000;
    putBudgets(to, at, budgets({ levels: [root] }));
    const settled = late.map((admission) => budgetMessage('settle', { admission, actual: 1 }));
    to.run(settled.map((message) => ({ kind: 'message', at, message })));
    expect(to.deadLetters).to.deep.equal([]);
    expect(to.state()!.window!.levels.size).to.equal(WINDOW_LEVELS_MAX);
    expect(used(to, 'global')).to.deep.equal([late.length, 0]);
    expect(to.ledger().at(-1)).to.deep.include({ path: ['global'], settled: 1 });
  });
});

describe('the ledger of a tenant that nobody has configured', () => {
  const asked = (settings = SETTINGS) => {
    const to = new BudgetPartition(settings);
    return { to, admission: granted(to, NOON) };
  };

  it('is forgotten a day after nothing refers to it any more, and begins anew', () => {
    const { to, admission } = asked();
    settle(to, NOON, admission, 100);
    expect(to.idle(END + 2 * DAY - 1).state()).to.include({ epoch: NOON, keepUntil: END + 2 * DAY });
    expect(to.idle(END + 2 * DAY).state()).to.equal(null);
    granted(to, END + 2 * DAY);
    expect(to.ledger().at(-1)).to.include({ epoch: END + 2 * DAY, seq: 1 });
  });

  it('is no other where Redis still has it', () => {
    const to = new BudgetPartition(SETTINGS, { expires: false });
    settle(to, NOON, granted(to, NOON), 100);
    granted(to, END + 2 * DAY);
    expect(to.ledger().at(-1)).to.include({ epoch: END + 2 * DAY, seq: 1 });
  });

  it('is kept while something is held, and as long as its windows may change', () => {
    const keepMs = 5 * DAY;
    const to = new BudgetPartition({ ...SETTINGS, holdExpiry: 'charge', keepMs });
    const [one, two] = [granted(to, NOON, { holdMs: 20 * DAY }), granted(to, NOON, { holdMs: 20 * DAY })];
    to.idle(NOON + 20 * DAY - 1);
    expect(to.state()).to.include({ epoch: NOON, pastHolds: 2 });
    to.run([{ kind: 'settings', at: to.now, settings: { ...SETTINGS, holdExpiry: 'charge', keepMs: 1 } }]);
    cancel(to, to.now, one);
    to.idle(NOON + 20 * DAY);
    // Restarted with another ADMISSION_KEEP_SECONDS.
    expect(to.state()).to.include({ epoch: NOON, pastHolds: 0, keepUntil: NOON + 21 * DAY + 300_000 });
    settle(to, NOON + 20 * DAY + 299_999, two, 10);
    expect(new Set(to.ledger().map(({ epoch }) => epoch))).to.deep.equal(new Set([NOON]));
    expect(to.snapshots().map(({ epoch, revision }) => [epoch, revision])).to.deep.equal([
      [NOON, 1],
      [NOON, 2],
    ]);
    expect(to.idle(NOON + 21 * DAY + 300_000).state()).to.equal(null);
  });

  it('that is gone leaves a late settle to the next', () => {
    const to = new BudgetPartition({ ...SETTINGS, keepMs: 5 * DAY });
    const admission = granted(to, NOON, { holdMs: 5 });
    to.idle(NOON + 10);
    // Restarted with less before the window ended.
    to.run([{ kind: 'settings', at: NOON + 20, settings: SETTINGS }]).idle(NOON + 3 * DAY);
    expect(to.state()).to.equal(null);
    expect(settle(to, NOON + 3 * DAY, admission, 100).kind).to.equal('ended');
    expect(to.ledger().at(-1)).to.include({
      kind: 'late_settle',
      epoch: NOON + 3 * DAY,
      seq: 1,
      settled: 100,
    });
  });

  it('is kept for ever once somebody configures it', () => {
    const { to } = asked();
    putBudgets(to, NOON, budgets());
    expect(to.idle(NOON + 100 * DAY).state()).to.include({ epoch: NOON });
  });
});
