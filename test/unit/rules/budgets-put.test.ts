import { expect } from 'chai';
import { capsOf, configOf, largestRequest, pathOf, treeOf } from '../../../rules/budgets.js';
import { DEFAULT_BUDGETS } from '../../../shared/state/budget-config.js';
import {
  admit,
  entries,
  evaluate,
  granted,
  NOON,
  partitionWith,
  putBudgets,
  settle,
  used,
} from './budget-asking.js';
import { budgets, level } from './budget-messages.js';
import { BudgetPartition, SETTINGS } from './budget-partition.js';

const END = NOON + 30_000;

describe('putting budgets', () => {
  it('numbers and dates them, tells the audit, and applies from then on', () => {
    const to = new BudgetPartition();
    expect(admit(to, NOON)).to.deep.include({
      remaining: [
        ['global', 949_900],
        ['monitoring', 332_400],
      ],
    });
    const config = { ...budgets(), version: 1, appliedAt: NOON + 5 };
    const sent = { ...config, version: 77, appliedAt: 3 };
    expect(putBudgets(to, NOON + 5, sent)).to.deep.equal({ kind: 'applied', config });
    expect(to.emitted('budgets_applied')).to.deep.equal([
      { tenant: 'acme', config, actor: 'alice', reason: 'because' },
    ]);
    expect(configOf(to.state())).to.deep.equal(config);
    expect([...to.configured]).to.deep.equal([['acme', NOON + 5]]);
    expect(admit(to, NOON + 6)).to.deep.include({
      remaining: [
        ['global', 9300],
        ['monitoring', 750],
      ],
    });
    expect(putBudgets(to, NOON + 6, config)).to.have.nested.property('config.version', 2);
    expect(to.state()!.epoch).to.equal(NOON);
  });

  it('refuses what replaces another version than the present one', () => {
    const to = new BudgetPartition();
    expect(putBudgets(to, NOON, budgets(), { replaces: 1 })).to.deep.equal({
      kind: 'version_conflict',
      version: 0,
    });
    expect(to.texts()).to.deep.equal({});
    expect(putBudgets(to, NOON, budgets(), { replaces: 0 })).to.have.nested.property('config.version', 1);
    expect(putBudgets(to, NOON, budgets(), { replaces: 0 })).to.deep.equal({
      kind: 'version_conflict',
      version: 1,
    });
    expect(to.emitted('budgets_applied')).to.have.lengthOf(1);
  });

  it('restores only what is later than what is known, as it was, without telling the audit', () => {
    const to = new BudgetPartition();
    const seeded = budgets({ version: 1, appliedAt: 0 });
    const restored = { restored: true } as const;
    expect(putBudgets(to, NOON, seeded, restored)).to.deep.equal({ kind: 'applied', config: seeded });
    expect(to.state()!.config).to.deep.equal(seeded);
    const later = budgets({ version: 4, appliedAt: NOON - 10 });
    putBudgets(to, NOON, later, restored);
    putBudgets(to, NOON, budgets({ version: 9, appliedAt: NOON - 10 }), restored);
    putBudgets(to, NOON, seeded, restored);
    expect(to.state()!.config).to.deep.equal(later);
    expect([...to.configured]).to.deep.equal([['acme', NOON - 10]]);
    expect(to.emitted('budgets_applied')).to.deep.equal([]);
  });

  it('never dates a change before the one it replaces', () => {
    const to = new BudgetPartition();
    putBudgets(to, NOON, budgets({ version: 3, appliedAt: NOON + 1000 }), { restored: true });
    expect(putBudgets(to, NOON + 1, budgets())).to.deep.nested.include({
      'config.version': 4,
      'config.appliedAt': NOON + 1000,
    });
  });

  it('ends the open window at the next boundary of the new length', () => {
    const to = partitionWith();
    granted(to, NOON + 12_000);
    putBudgets(to, NOON + 12_000, budgets());
    expect(to.state()!.window).to.include({ start: NOON, end: END });
    putBudgets(to, NOON + 12_000, budgets({ windowMs: 5000 }));
    expect(to.state()!.window).to.include({ start: NOON, end: NOON + 15_000 });
    expect(to.timers.get('reset:acme')).to.equal(NOON + 15_000);
    putBudgets(to, NOON + 14_000, budgets({ windowMs: 3_600_000 }));
    expect(to.timers.get('reset:acme')).to.equal(NOON + 3_600_000);
    expect(used(to)).to.deep.equal([0, 100]);
    to.idle(NOON + 3_600_000);
    expect(to.state()).to.include({ window: null, lastEnd: NOON + 3_600_000 });
  });

  it('leaves the open window alone where the length is what it was', () => {
    const to = partitionWith();
    granted(to, NOON);
    to.run([{ kind: 'settings', at: NOON, settings: { ...SETTINGS, windowMs: 7000 } }]);
    const { length } = to.effects;
    putBudgets(to, NOON + 1, budgets());
    expect(to.state()!.window).to.include({ start: NOON, end: END });
    expect(to.effects.slice(length).map(({ kind }) => kind)).to.deep.equal(['index', 'emit', 'reply']);
  });

  it('leaves the use of levels that disappear to the window, and what was granted to its path', () => {
    const to = partitionWith();
    const admission = granted(to, NOON + 1);
    putBudgets(to, NOON, budgets({ levels: [level('all', null, 1000), level('job', 'all', 1000)] }));
    evaluate(to, NOON, { pipeline: 'job', keyed: false });
    expect([...to.state()!.window!.levels.keys()]).to.deep.equal(['global', 'monitoring', 'all', 'job']);
    settle(to, END, admission, 130);
    expect(entries(to).at(-1)).to.deep.equal(['overrun', 30_000, 0, 30]);
    // Levels that the new window had not seen begin with nothing.
    expect([used(to, 'global'), used(to, 'monitoring')]).to.deep.equal([
      [30, 0],
      [30, 0],
    ]);
  });

  it('throws for levels that are no tree, and keeps what it has', () => {
    const to = partitionWith();
    const before = to.texts();
    const bad = [
      [],
      [level('a', 'b', 1)],
      [level('a', null, 1), level('a', 'a', 1)],
      [level('a', null, 1), level('c', 'b', 1), level('b', 'a', 1)],
      [level('a', null, 1), level('b', null, 1)],
    ];
    for (const levels of bad) putBudgets(to, NOON, budgets({ levels }));
    expect(to.deadLetters).to.deep.equal([
      'the first level is not a root',
      'the first level is not a root',
      'two levels are called a',
      'c comes before its parent',
      'b comes before its parent',
    ]);
    expect(to.texts()).to.deep.equal(before);
  });
});

describe('a configuration', () => {
  it('says its thresholds in tokens, its paths and its largest request', () => {
    const config = budgets({
      maxRequestShare: 123_456,
      levels: [
        level('global', null, 10_001),
        level('__proto__', 'global', 1001, { p2Soft: 1, p2Hard: 999_999 }),
      ],
    });
    expect(capsOf(config, 'global')).to.deep.equal({
      soft: 8500,
      hard: 9500,
      p2Soft: 8500,
      p2Hard: 9500,
      p0: 15_001,
    });
    expect(capsOf(config, '__proto__')).to.deep.equal({
      soft: 850,
      hard: 950,
      p2Soft: 0,
      p2Hard: 1000,
      p0: 1501,
    });
    expect(capsOf(config, 'constructor')).to.equal(undefined);
    expect(pathOf(config, '__proto__')).to.deep.equal(config.levels);
    expect(pathOf(config, 'global')).to.equal(undefined);
    expect(largestRequest(config)).to.equal(1234);
    expect(configOf(null)).to.equal(DEFAULT_BUDGETS);
  });

  it('names at most 50 pipelines to those who ask for one that does not exist', () => {
    const levels = [
      level('root', null, 1),
      ...Array.from({ length: 60 }, (_, n) => level(`p${n}`, 'root', 1)),
    ];
    expect(treeOf(budgets({ levels })).pipelines).to.deep.equal(
      Array.from({ length: 50 }, (_, n) => `p${n}`),
    );
  });
});
