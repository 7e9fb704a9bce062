import { expect } from 'chai';
import {
  admit,
  cancel,
  entries,
  evaluate,
  failOpen,
  freshId,
  granted,
  NOON,
  partitionWith,
  settle,
  used,
} from './budget-asking.js';
import { admissionId, budgets } from './budget-messages.js';
import { type BudgetPartition, SETTINGS } from './budget-partition.js';

const END = NOON + 30_000;
const CHARGE = { ...SETTINGS, holdExpiry: 'charge' as const };
const alias = (id: string, n: number) => admissionId(id.slice(0, 16), n, 'o');
/** Of a limit of 1000: degraded, half of it is granted. */
const DEGRADED = { estimated: 852 };
const all = (of: BudgetPartition, id: string) => of.admissions(id)!.admissions;

describe('a request that was answered undecided, and is known', () => {
  for (const told of ['its id', 'another id', 'the id it was sent with'] as const) {
    it(`as an evaluation that was degraded is charged the rest, once (${told})`, () => {
      const to = partitionWith();
      const id = freshId();
      evaluate(to, NOON, { ...DEGRADED, admission: id });
      const admission = told === 'its id' ? id : alias(id, 1);
      const report = { ...DEGRADED, admission, settled: true };
      failOpen(to, END + 1, told === 'the id it was sent with' ? { ...report, asked: id } : report);
      failOpen(to, END + 2, report);
      expect(entries(to)).to.deep.equal([
        ['grant', 0, 0, 426],
        ['reset', 0, 0, 0],
        ['fail_open', 30_000, 0, 426],
      ]);
      expect(used(to)).to.deep.equal([426, 0]);
      expect(all(to, id)).to.have.lengthOf(1);
      expect(all(to, id)[0]).to.include({ granted: 852, charged: 852, failedOpen: 426 });
    });
  }

  it('as one that was cancelled is another one where it was given anew', () => {
    const to = partitionWith();
    const { ids } = granted(to, NOON);
    cancel(to, NOON, { ids });
    failOpen(to, NOON + 1, { admission: alias(ids[0]!, 1) });
    expect(all(to, ids[0]!).map(({ status }) => status)).to.deep.equal(['cancelled', 'held']);
    expect(settle(to, NOON + 2, { ids: [alias(ids[0]!, 1)] }, 100).kind).to.equal('ended');
    expect(used(to)).to.deep.equal([100, 0]);
  });

  it('as one that was cancelled by the id of the answer stays cancelled', () => {
    const to = partitionWith();
    const { ids } = granted(to, NOON, DEGRADED);
    cancel(to, NOON, { ids });
    failOpen(to, NOON + 1, { ...DEGRADED, admission: ids[0]! });
    expect(all(to, ids[0]!)).to.have.lengthOf(1);
    expect(used(to)).to.deep.equal([0, 0]);
  });

  it('as one that somebody else has cancelled, who asked for the same, is given anew', () => {
    const to = partitionWith();
    const { ids } = granted(to, NOON);
    cancel(to, NOON, { ids });
    failOpen(to, NOON + 1, { admission: alias(ids[0]!, 1), asked: ids[0]! });
    expect(used(to)).to.deep.equal([0, 100]);
  });

  for (const settings of [SETTINGS, CHARGE]) {
    const { holdExpiry } = settings;
    it(`as one whose hold expired is another one where it was given anew (${holdExpiry})`, () => {
      const to = partitionWith(budgets(), settings);
      const { ids } = granted(to, NOON, { holdMs: 10 });
      failOpen(to, NOON + 20, { admission: alias(ids[0]!, 1) });
      expect(all(to, ids[0]!).map(({ status }) => status)).to.deep.equal(['expired', 'held']);
      expect(used(to)).to.deep.equal([holdExpiry === 'charge' ? 100 : 0, 100]);
    });
  }

  it('as one whose hold expired and was given back is settled late, with the id of the answer', () => {
    const to = partitionWith();
    const { ids } = granted(to, NOON, { ...DEGRADED, holdMs: 10 });
    failOpen(to, NOON + 20, { ...DEGRADED, admission: alias(ids[0]!, 1), asked: ids[0]! });
    expect(used(to)).to.deep.equal([0, 0]);
    expect(settle(to, NOON + 30, { ids: [alias(ids[0]!, 1)] }, 800).kind).to.equal('ended');
    expect(used(to)).to.deep.equal([800, 0]);
  });

  it('as one whose hold expired and was charged is charged the rest where it was, and settled from there', () => {
    const to = partitionWith(budgets(), CHARGE);
    const { ids } = granted(to, NOON, { ...DEGRADED, holdMs: 10 });
    failOpen(to, END + 1, { ...DEGRADED, admission: alias(ids[0]!, 1), asked: ids[0]! });
    expect(entries(to).slice(1)).to.deep.equal([
      ['expire', 0, -426, 426],
      ['reset', 0, 0, 0],
      ['fail_open', 0, 0, 426],
    ]);
    expect(all(to, ids[0]!)[0]).to.include({
      status: 'expired',
      granted: 852,
      charged: 852,
      failedOpen: 426,
    });
    settle(to, END + 2, { ids: [alias(ids[0]!, 1)] }, 500);
    expect(to.snapshots().map(({ revision, levels }) => [revision, levels[1]!.settled])).to.deep.equal([
      [1, 426],
      [2, 852],
      [3, 500],
    ]);
  });

  it('as one whose charge cannot be given back any more is charged the rest now', () => {
    const brief = { ...CHARGE, keepMs: 1000, dedupeMs: 1 };
    const to = partitionWith(budgets(), { ...brief, keepMs: 100_000 });
    const { ids } = granted(to, NOON, { ...DEGRADED, holdMs: 10 });
    to.idle(NOON + 10);
    to.run([{ kind: 'settings', at: NOON + 20, settings: brief }]).idle(END + 1000);
    failOpen(to, END + 1000, { ...DEGRADED, admission: ids[0]! });
    expect(entries(to).at(-1)).to.deep.equal(['fail_open', 30_000, 0, 426]);
    expect(all(to, ids[0]!)[0]).to.include({ charged: 852 });
  });

  it('by the id it was sent with is the same request, also after the dedupe time', () => {
    const to = partitionWith();
    const id = freshId();
    evaluate(to, NOON, { admission: id });
    failOpen(to, NOON + 300_001, { admission: alias(id, 1), asked: id, settled: true });
    expect(all(to, id)).to.have.lengthOf(1);
    expect(to.ledger().reduce((sum, { settled }) => sum + settled, 0)).to.equal(100);
  });

  it('and was sent with what is no id, is none', () => {
    const to = partitionWith();
    failOpen(to, NOON, { asked: 'nothing' });
    expect(to.deadLetters).to.deep.equal(['the admission is no id']);
  });
});

describe('a request that was answered undecided, with the key of another', () => {
  const OTHER = { estimated: 5000, body: 'other' };

  for (const status of ['held', 'settled', 'cancelled', 'expired', 'refused', 'undecided'] as const) {
    it(`is charged at once, once, whatever became of that (${status})`, () => {
      const to = partitionWith();
      const id = freshId();
      if (status === 'undecided') failOpen(to, NOON, { admission: id, settled: true });
      else if (status === 'refused') granted(to, NOON, { estimated: 900 });
      if (status !== 'undecided') admit(to, NOON, { admission: id, holdMs: 10 });
      if (status === 'settled') settle(to, NOON, { ids: [id] }, 100);
      if (status === 'cancelled') cancel(to, NOON, { ids: [id] });
      const at = status === 'expired' ? NOON + 20 : NOON + 1;
      to.idle(at);
      const [settled, held] = used(to, 'global');
      for (const n of [1, 1, 2]) failOpen(to, at, { ...OTHER, admission: alias(id, n) });
      expect(used(to, 'global')).to.deep.equal([settled + 5000, held]);
      expect(all(to, id).map(({ body }) => body)).to.deep.equal(['other', 'body']);
      expect(all(to, id)[0]).to.deep.include({
        ids: [alias(id, 1), alias(id, 2)],
        status: 'settled',
        charged: 5000,
        failedOpen: 5000,
      });
    });
  }

  it('can be asked for by its id, and leaves the first as it is', () => {
    const to = partitionWith();
    const { ids } = granted(to, NOON);
    const other = alias(ids[0]!, 1);
    failOpen(to, NOON, { ...OTHER, admission: other });
    expect(admit(to, NOON, { ...OTHER, admission: other })).to.deep.nested.include({
      kind: 'admitted',
      fresh: false,
      'admission.charged': 5000,
    });
    expect(settle(to, NOON, { ids: [other] }, 4000).kind).to.equal('over');
    expect(admit(to, NOON, { admission: admissionId(ids[0]!.slice(0, 16), 2) })).to.deep.nested.include({
      fresh: false,
      'admission.status': 'held',
    });
    expect(admit(to, NOON, { ...OTHER, admission: admissionId(ids[0]!.slice(0, 16), 3) })).to.deep.equal({
      kind: 'conflict',
    });
    expect(settle(to, NOON, { ids }, 60).kind).to.equal('ended');
    expect(used(to, 'global')).to.deep.equal([5060, 0]);
  });

  it('never takes the place of the one that is held, however many there are', () => {
    const to = partitionWith();
    const { ids } = granted(to, NOON, { holdMs: 1000 });
    for (let n = 0; n < 40; n += 1)
      failOpen(to, NOON, { body: `${n}`, estimated: 1, admission: alias(ids[0]!, n) });
    const known = all(to, ids[0]!);
    expect(known).to.have.lengthOf(32);
    expect(known.at(-1)).to.deep.include({ ids, status: 'held' });
    expect(used(to, 'global')).to.deep.equal([40, 100]);
    to.idle(NOON + 1000);
    expect(all(to, ids[0]!).at(-1)).to.deep.include({ ids, status: 'expired' });
  });
});
