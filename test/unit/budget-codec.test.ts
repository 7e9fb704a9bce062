import { expect } from 'chai';
import {
  decodeAdmissions,
  decodeBudget,
  decodePastWindow,
  encodeAdmissions,
  encodeBudget,
  encodePastWindow,
} from '../../shared/state/budget-codec.js';
import { DEFAULT_BUDGETS, LIMIT_MAX, unsoundBudgets } from '../../shared/state/budget-config.js';
import type { Admission, BudgetState, BudgetWindow, PastWindow } from '../../shared/state/budget-state.js';
import { NewerDocumentError } from '../../shared/state/state-codec.js';

const NOON = 1_795_176_000_000;
const names = ['global', '__proto__', 'constructor', 'a.b:c-d_e'];

const window: BudgetWindow = {
  start: NOON,
  end: NOON + 30_000,
  levels: new Map(
    names.map((name, n) => [
      name,
      {
        settled: Number.MAX_SAFE_INTEGER - n,
        held: n,
        admitted: n + 1,
        degraded: n + 2,
        refused: n + 3,
        limit: null,
      },
    ]),
  ),
  holds: 3,
  refundable: 4,
  entries: 5,
};

const state: BudgetState = {
  owner: undefined,
  config: {
    version: 7,
    appliedAt: NOON,
    windowMs: 60_000,
    maxRequestShare: 1,
    degradedDebit: 1_000_000,
    levels: names.map((name, n) => ({
      name,
      parent: n === 0 ? null : names[n - 1]!,
      limit: LIMIT_MAX - n,
      soft: 1,
      hard: 2,
      p2Soft: n === 1 ? 3 : null,
      p2Hard: n === 2 ? 4 : null,
      p0: 5,
    })),
  },
  epoch: NOON - 1,
  entries: 99,
  lastEnd: NOON - 30_000,
  pastHolds: 2,
  keepUntil: NOON + 7,
  window,
};

const past: PastWindow = {
  owner: undefined,
  ...window,
  levels: new Map([...window.levels].map(([name, use], n) => [name, { ...use, limit: n === 1 ? null : n }])),
  version: 6,
  revision: 2,
  keepUntil: NOON + 1,
};

const held: Admission = {
  ids: ['abcdefgh_-ijklmna1234567'],
  status: 'held',
  decision: 'ALLOW',
  pipeline: 'monitoring',
  priority: 'P1',
  path: ['global', 'monitoring'],
  estimated: 100,
  granted: 100,
  window: NOON,
  at: NOON + 1,
  expiresAt: NOON + 30_001,
  endedAt: null,
  charged: null,
  overrun: 0,
  expiry: null,
  failedOpen: null,
  refusedBy: null,
  body: 'abcdefgh_-123456',
  attempts: 1,
  dedupeUntil: NOON + 300_001,
  keepUntil: null,
};
const ended = { endedAt: NOON + 9, charged: 0, keepUntil: NOON + 10 };
const admissions: Admission[] = [
  held,
  { ...held, ids: [...held.ids, 'o1', 'o2'], priority: 'P0', failedOpen: 0, attempts: 9 },
  { ...held, ...ended, status: 'settled', charged: 130, overrun: 30, decision: 'ALLOW_DEGRADED' },
  { ...held, ...ended, status: 'settled', charged: 130, expiry: 'release', priority: 'P2' },
  { ...held, ...ended, status: 'cancelled', failedOpen: 50 },
  { ...held, ...ended, status: 'expired', expiry: 'charge', charged: 100 },
  {
    ...held,
    ...ended,
    status: 'refused',
    decision: 'REJECT',
    granted: 0,
    expiresAt: null,
    refusedBy: { level: '__proto__', available: 3, resetsAt: NOON + 30_000, version: 8 },
  },
];

describe('documents of budgets', () => {
  it('are read as they were written', () => {
    expect(decodeBudget(encodeBudget(state))).to.deep.equal(state);
    expect(decodePastWindow(encodePastWindow(past))).to.deep.equal(past);
    expect(decodePastWindow(encodePastWindow({ ...past, keepUntil: null })).keepUntil).to.equal(null);
    expect(decodeAdmissions(encodeAdmissions({ admissions }))).to.deep.equal({ admissions });
    for (const one of admissions) {
      expect(decodeAdmissions(encodeAdmissions({ admissions: [one] })).admissions).to.deep.equal([one]);
    }
  });

  it('with ends that came before their admissions are read as they were written, by no older worker', () => {
    const ends = [
      { id: 'abcdefgh_-ijklmno1234567', actual: 0, until: NOON },
      { id: 'abcdefgh_-ijklmno7654321', actual: null, until: NOON + 1 },
    ];
    for (const document of [
      { admissions, ends },
      { admissions: [], ends },
    ]) {
      expect(decodeAdmissions(encodeAdmissions(document))).to.deep.equal(document);
    }
    expect(encodeAdmissions({ admissions: [], ends })).to.equal(
      '{"v":2,"a":[],"e":[["abcdefgh_-ijklmno1234567",0,1795176000000],["abcdefgh_-ijklmno7654321",null,1795176000001]]}',
    );
  });

  it('say that what is stored as budgets is broken; who does not know that finds nothing to admit', () => {
    const broken: BudgetState = { ...state, config: unsoundBudgets(7) };
    expect(decodeBudget(encodeBudget(broken))).to.deep.equal(broken);
    const older = decodeBudget(encodeBudget(broken).replace(/,1\]\}$/, ']}'));
    expect(older.config).not.to.have.property('unsound');
    expect(older.config!.levels.map(({ limit }) => limit)).to.deep.equal([0]);
  });

  it('of a tenant that nobody configured hold no configuration, those of a quiet one no window', () => {
    const quiet: BudgetState = { ...state, config: null, window: null };
    expect(decodeBudget(encodeBudget(quiet))).to.deep.equal(quiet);
    expect(JSON.parse(encodeBudget(quiet))).to.have.all.keys('v', 'epoch', 'entries', 'lastEnd', 'past');
    const defaults: BudgetState = { ...state, config: DEFAULT_BUDGETS };
    expect(decodeBudget(encodeBudget(defaults))).to.deep.equal(defaults);
  });

  it('do not remember who was changing them', () => {
    const owner = {};
    expect(decodeBudget(encodeBudget({ ...state, owner })).owner).to.equal(undefined);
    expect(decodePastWindow(encodePastWindow({ ...past, owner })).owner).to.equal(undefined);
  });

  it('are small: an admission is written for every request', () => {
    expect(encodeAdmissions({ admissions: [held] })).to.equal(
      '{"v":1,"a":[["abcdefgh_-ijklmna1234567",0,0,"monitoring",1,["global","monitoring"],100,100,' +
        '1795176000000,1795176000001,1795176030001,"abcdefgh_-123456",1,1795176300001]]}',
    );
  });

  it('begin with their version, and one above ours is not read', () => {
    const texts = [encodeBudget(state), encodePastWindow(past), encodeAdmissions({ admissions })];
    const decoders = [decodeBudget, decodePastWindow, decodeAdmissions];
    const newer = [2, 2, 3];
    texts.forEach((text, n) => {
      expect(text.startsWith('{"v":1,')).to.equal(true);
      expect(() => decoders[n]!(text.replace('{"v":1,', `{"v":${newer[n]},`))).to.throw(NewerDocumentError);
    });
  });
});
