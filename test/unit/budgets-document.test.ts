import { expect } from 'chai';
import fc from 'fast-check';
import { budgetDefects } from '../../shared/budgets/budget-defects.js';
import {
  type BudgetsDocument,
  budgetConfigOf,
  budgetsDocument,
  type LevelDocument,
} from '../../shared/budgets/budgets-document.js';
import {
  type BudgetConfig,
  DEFAULT_BUDGETS,
  DEPTH_MAX,
  LEVELS_MAX,
  LIMIT_MAX,
  MILLION,
} from '../../shared/state/budget-config.js';

function level(name: string, parent: string | null, more: Partial<LevelDocument> = {}): LevelDocument {
  return {
    ...{ name, parent, limit: 1000 },
    ...{ soft_threshold: 0.85, hard_threshold: 0.95, p0_threshold: 1.5 },
    ...more,
  };
}

function documentOf(levels: readonly LevelDocument[], more: Partial<BudgetsDocument> = {}): BudgetsDocument {
  return { window_seconds: null, max_request_share: 0.1, degraded_debit: 0.5, levels, ...more };
}

const paths = (document: BudgetsDocument) => budgetDefects(document).map(({ path }) => path);
const pathsOfRoot = (more: Partial<LevelDocument>) => paths(documentOf([level('root', null, more)]));

describe('budgets as people write them', () => {
  it('say shares, not millionths, and leave out what P2 has not of its own', () => {
    const root = DEFAULT_BUDGETS.levels[0]!;
    const levels = [root, { ...root, name: 'child', parent: 'global', p2Soft: 700_000, p2Hard: 1 }];
    const config = { ...DEFAULT_BUDGETS, windowMs: 60_000, maxRequestShare: 123_456, levels };
    const written = { name: 'global', parent: null, limit: 1_000_000 };
    const thresholds = { soft_threshold: 0.85, hard_threshold: 0.95, p0_threshold: 1.5 };
    expect(budgetsDocument(config)).to.deep.equal({
      ...{ window_seconds: 60, max_request_share: 0.123456, degraded_debit: 0.5 },
      levels: [
        { ...written, ...thresholds },
        {
          ...{ ...written, name: 'child', parent: 'global', ...thresholds },
          ...{ p2_soft_threshold: 0.7, p2_hard_threshold: 0.000001 },
        },
      ],
    });
  });

  it('are the same configuration again when they are read', () => {
    const share = fc.integer({ min: 0, max: 10 * MILLION });
    const levelConfig = fc.record({
      ...{ limit: fc.integer({ min: 0, max: LIMIT_MAX }), soft: share, hard: share, p0: share },
      ...{ p2Soft: fc.option(share), p2Hard: fc.option(share) },
    });
    const config: fc.Arbitrary<BudgetConfig> = fc.record({
      ...{ version: fc.constant(0), appliedAt: fc.constant(0) },
      windowMs: fc.option(fc.integer({ min: 1, max: 2_678_400 }).map((seconds) => seconds * 1000)),
      ...{ maxRequestShare: share, degradedDebit: share },
      levels: fc.array(levelConfig, { minLength: 1, maxLength: 9 }).chain((bare) =>
        fc.tuple(...bare.map((_, i) => fc.nat(Math.max(0, i - 1)))).map((parents) =>
          bare.map((each, i) => ({
            ...each,
            ...{ name: `level-${i}`, parent: i === 0 ? null : `level-${parents[i]}` },
          })),
        ),
      ),
    });
    fc.assert(
      fc.property(config, (given) => {
        expect(budgetConfigOf(budgetsDocument(given))).to.deep.equal(given);
      }),
    );
  });

  it('may name a parent after its children; what is in order keeps it', () => {
    const levels = [
      level('b', 'a'),
      level('d', 'c'),
      level('root', null),
      level('a', 'root'),
      level('c', 'root'),
    ];
    const document = documentOf(levels);
    expect(budgetDefects(document)).to.deep.equal([]);
    const names = budgetConfigOf(document).levels.map(({ name }) => name);
    expect(names).to.deep.equal(['root', 'a', 'b', 'c', 'd']);
  });

  it('have a level called __proto__ like any other', () => {
    const document = documentOf([level('__proto__', null), level('constructor', '__proto__')]);
    expect(budgetDefects(document)).to.deep.equal([]);
    const names = budgetConfigOf(document).levels.map(({ name, parent }) => [name, parent]);
    expect(names).to.deep.equal([
      ['__proto__', null],
      ['constructor', '__proto__'],
    ]);
  });
});

describe('defects of budgets', () => {
  it('are none of the defaults', () => {
    expect(budgetDefects(budgetsDocument(DEFAULT_BUDGETS))).to.deep.equal([]);
  });

  it('are told all at once, with their place', () => {
    const levels = [level('root', null, { limit: -1 }), level('child', 'nobody', { soft_threshold: 2 })];
    expect(budgetDefects(documentOf(levels, { window_seconds: 0.5, degraded_debit: 0 }))).to.deep.equal([
      { path: 'window_seconds', message: 'must be a whole number from 1 to 2678400, or null' },
      { path: 'degraded_debit', message: 'must be greater than 0' },
      { path: 'levels.0.limit', message: 'must be a whole number from 0 to 1000000000000' },
      { path: 'levels.1.soft_threshold', message: 'must not be greater than hard_threshold' },
      { path: 'levels.1.parent', message: 'must be the name of a level' },
    ]);
  });

  it('are names that are no names, and names given twice', () => {
    const names = ['', 'a b', 'é', 'x'.repeat(65), 'line\n'];
    for (const name of names) expect(paths(documentOf([level(name, null)]))).to.deep.equal(['levels.0.name']);
    const twice = documentOf([level('root', null), level('a', 'root'), level('a', 'root')]);
    expect(paths(twice)).to.deep.equal(['levels.2.name']);
  });

  it('are a tree without a root, with two, or with a circle', () => {
    expect(paths(documentOf([]))).to.deep.equal(['levels']);
    expect(paths(documentOf([level('a', null), level('b', null)]))).to.deep.equal(['levels']);
    const circle = [level('root', null), level('a', 'b'), level('b', 'a'), level('c', 'b')];
    const places = ['levels.1.parent', 'levels.2.parent', 'levels.3.parent'];
    expect(paths(documentOf(circle))).to.deep.equal(places);
    expect(paths(documentOf([level('a', 'a')]))).to.deep.equal(['levels', 'levels.0.parent']);
  });

  it('are more levels, or more of them below each other, than one document may have', () => {
    const wide = (levels: number) =>
      documentOf(Array.from({ length: levels }, (_, i) => level(`l${i}`, i === 0 ? null : 'l0')));
    expect(paths(wide(LEVELS_MAX))).to.deep.equal([]);
    expect(paths(wide(LEVELS_MAX + 1))).to.deep.equal(['levels']);
    const deep = (levels: number) =>
      documentOf(Array.from({ length: levels }, (_, i) => level(`l${i}`, i === 0 ? null : `l${i - 1}`)));
    expect(paths(deep(DEPTH_MAX))).to.deep.equal([]);
    expect(paths(deep(DEPTH_MAX + 1))).to.deep.equal([`levels.${DEPTH_MAX}.parent`]);
  });

  it('are numbers that are no whole tokens or no millionths', () => {
    for (const limit of [1.5, -1, LIMIT_MAX + 1, Number.NaN, Number.POSITIVE_INFINITY]) {
      expect(pathsOfRoot({ limit })).to.deep.equal(['levels.0.limit']);
    }
    for (const p0_threshold of [85, -0.1, 1.0000001, Number.NaN, Number.POSITIVE_INFINITY]) {
      expect(pathsOfRoot({ p0_threshold })).to.deep.equal(['levels.0.p0_threshold']);
    }
    for (const max_request_share of [0, 1.1, -1, 0.1234567, Number.NaN]) {
      expect(paths(documentOf([level('root', null)], { max_request_share }))).to.deep.equal([
        'max_request_share',
      ]);
    }
    for (const window_seconds of [0, 2_678_401, 1.5, Number.NaN]) {
      expect(paths(documentOf([level('root', null)], { window_seconds }))).to.deep.equal(['window_seconds']);
    }
    expect(pathsOfRoot({ limit: LIMIT_MAX, p0_threshold: 10 })).to.deep.equal([]);
  });

  it('are thresholds in the wrong order, for P2 as well', () => {
    expect(pathsOfRoot({ soft_threshold: 0.96 })).to.deep.equal(['levels.0.soft_threshold']);
    expect(pathsOfRoot({ hard_threshold: 1.6 })).to.deep.equal(['levels.0.hard_threshold']);
    expect(pathsOfRoot({ p2_soft_threshold: 0.86 })).to.deep.equal(['levels.0.p2_soft_threshold']);
    expect(pathsOfRoot({ p2_hard_threshold: 0.96 })).to.deep.equal(['levels.0.p2_hard_threshold']);
    expect(pathsOfRoot({ p2_hard_threshold: 0.84 })).to.deep.equal(['levels.0.p2_hard_threshold']);
    expect(pathsOfRoot({ p2_soft_threshold: 0.5, p2_hard_threshold: 0.49 })).to.deep.equal([
      'levels.0.p2_hard_threshold',
    ]);
    expect(pathsOfRoot({ p2_soft_threshold: 0.5, p2_hard_threshold: 0.5 })).to.deep.equal([]);
    const equal = { soft_threshold: 1, hard_threshold: 1, p0_threshold: 1 };
    expect(pathsOfRoot(equal)).to.deep.equal([]);
  });
});
