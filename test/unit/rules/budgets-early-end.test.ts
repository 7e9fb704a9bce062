import { expect } from 'chai';
import type { EndReply } from '../../../shared/messages/admissions.js';
import {
  admit,
  cancel,
  entries,
  evaluate,
  failOpen,
  freshId,
  NOON,
  partitionWith,
  settle,
  used,
} from './budget-asking.js';
import { admissionId, budgetMessage } from './budget-messages.js';
import type { BudgetPartition } from './budget-partition.js';

/** What is kept at least, with the settings of these tests, and how much longer a report may be under way. */
const KEPT_MS = 3_600_000 + 60_000;

let keys = 0;
function givenIds(count: number): string[] {
  keys += 1;
  return Array.from({ length: count }, (_, n) => admissionId(`early${keys}`, n, 'o'));
}
function givenId(): string {
  return givenIds(1)[0]!;
}

const known = (to: BudgetPartition, id: string) =>
  to.admissions(id)!.admissions.map(({ ids, status, granted, charged, overrun }) => ({
    ...{ ids, status, granted, charged, overrun },
  }));
const statusOf = (reply: EndReply) => (reply.kind === 'not_found' ? reply.kept : reply.kind);

describe('the end of an admission that was given undecided, before its report', () => {
  it('is kept, and charges what it said when the report comes', () => {
    const to = partitionWith();
    const id = givenId();
    const kept = { id, actual: 40, until: NOON + 5 + KEPT_MS };
    expect(settle(to, NOON + 5, { ids: [id] }, 40)).to.deep.equal({ kind: 'not_found', kept });
    expect(to.admissions(id)).to.deep.equal({ admissions: [], ends: [kept] });
    expect(entries(to)).to.deep.equal([]);
    failOpen(to, NOON + 900, { admission: id });
    expect(to.admissions(id)).not.to.have.property('ends');
    expect(known(to, id)).to.deep.equal([
      { ids: [id], status: 'settled', granted: 100, charged: 40, overrun: 0 },
    ]);
    expect(entries(to)).to.deep.equal([['fail_open', 0, 0, 40]]);
    expect(used(to)).to.deep.equal([40, 0]);
    expect(to.state()!.window!.holds).to.equal(0);
    expect([...to.timers.keys()]).to.deep.equal(['reset:acme']);
    expect([to.counts('admission_settled'), to.counts('admission_failed_open')]).to.deep.equal([1, 1]);
    expect(statusOf(settle(to, NOON + 901, { ids: [id] }, 40))).to.equal('ended');
    expect(statusOf(settle(to, NOON + 901, { ids: [id] }, 41))).to.equal('over');
    expect(statusOf(cancel(to, NOON + 901, { ids: [id] }))).to.equal('over');
    expect(used(to)).to.deep.equal([40, 0]);
  });

  it('charges also what it took beyond what was given', () => {
    const to = partitionWith();
    const id = givenId();
    settle(to, NOON, { ids: [id] }, 130);
    failOpen(to, NOON, { admission: id });
    expect(known(to, id)).to.deep.equal([
      { ids: [id], status: 'settled', granted: 100, charged: 130, overrun: 30 },
    ]);
    expect(entries(to)).to.deep.equal([
      ['fail_open', 0, 0, 100],
      ['overrun', 0, 0, 30],
    ]);
    expect(to.counts('overrun_tokens')).to.equal(30);
  });

  it('that cancels it charges nothing', () => {
    const to = partitionWith();
    const id = givenId();
    cancel(to, NOON, { ids: [id] });
    failOpen(to, NOON, { admission: id });
    expect(known(to, id)).to.deep.equal([
      { ids: [id], status: 'cancelled', granted: 100, charged: 0, overrun: 0 },
    ]);
    expect(entries(to)).to.deep.equal([['fail_open', 0, 0, 0]]);
    expect(used(to)).to.deep.equal([0, 0]);
    expect(to.counts('admission_cancelled')).to.equal(1);
  });

  it('holds as it was said first', () => {
    const to = partitionWith();
    const [settled, cancelled] = [givenId(), givenId()];
    const first = { id: settled, actual: 40, until: NOON + KEPT_MS };
    const ids = [settled];
    settle(to, NOON, { ids }, 40);
    for (const again of [
      settle(to, NOON + 1, { ids }, 40),
      settle(to, NOON + 1, { ids }, 50),
      cancel(to, NOON + 1, { ids }),
    ]) {
      expect(again).to.deep.equal({ kind: 'not_found', kept: first });
    }
    cancel(to, NOON, { ids: [cancelled] });
    expect(statusOf(settle(to, NOON + 1, { ids: [cancelled] }, 40))).to.deep.include({ actual: null });
    failOpen(to, NOON + 2, { admission: settled });
    failOpen(to, NOON + 2, { admission: cancelled });
    expect(used(to)).to.deep.equal([40, 0]);
  });

  it('is kept for as long as its admission would be known', () => {
    for (const [late, charged] of [
      [KEPT_MS - 1, [40, 0]],
      [KEPT_MS, [0, 100]],
    ] as const) {
      const to = partitionWith();
      const id = givenId();
      settle(to, NOON, { ids: [id] }, 40);
      failOpen(to, NOON + late, { admission: id });
      expect(used(to)).to.deep.equal(charged);
    }
    const to = partitionWith();
    const id = givenId();
    settle(to, NOON, { ids: [id] }, 40);
    to.idle(NOON + KEPT_MS - 1);
    expect(to.documentNames('admission:')).to.have.lengthOf(1);
    to.idle(NOON + KEPT_MS);
    expect(to.documentNames('admission:')).to.have.lengthOf(0);
  });

  it('is kept of the last 16 ids of a request', () => {
    const to = partitionWith();
    const ids = givenIds(17);
    ids.forEach((id, n) => {
      settle(to, NOON + n, { ids: [id] }, 40 + n);
    });
    const kept = to.admissions(ids[0]!)!.ends!.map(({ id, actual }) => [id, actual]);
    expect(kept).to.deep.equal(ids.map((id, n) => [id, 40 + n]).slice(1));
    for (const id of ids.toReversed()) failOpen(to, NOON + 20, { admission: id });
    expect(used(to)).to.deep.equal([56, 0]);
  });

  it('is kept of an id no older than ends are kept, and no further ahead than a day', () => {
    const DAY_MS = 86_400_000;
    const last = KEPT_MS - 60_000 + DAY_MS;
    for (const [age, isKept] of [
      [last, true],
      [last + 180_000, false],
      [-DAY_MS, true],
      [-DAY_MS - 60_000, false],
      [15 * 365 * DAY_MS, false],
    ] as const) {
      const to = partitionWith();
      const id = admissionId('aged', 0, 'o', NOON - age);
      const reply = settle(to, NOON, { ids: [id] }, 40);
      expect(reply, `${age}`).to.have.property('kind', 'not_found');
      expect('kept' in reply, `${age}`).to.equal(isKept);
      expect(to.documentNames('admission:').length, `${age}`).to.equal(isKept ? 1 : 0);
    }
  });

  it('ends what is decided under its id by a retry, though its report never comes', () => {
    const to = partitionWith();
    const [settled, cancelled] = [givenId(), givenId()];
    settle(to, NOON, { ids: [settled] }, 40);
    cancel(to, NOON, { ids: [cancelled] });
    const reply = admit(to, NOON + 1, { admission: settled });
    expect(reply).to.deep.include({ kind: 'admitted', fresh: true });
    expect(reply).to.nested.include({ 'admission.status': 'settled', 'admission.charged': 40 });
    const over = admit(to, NOON + 1, { admission: cancelled });
    expect(over).to.nested.include({ kind: 'over', 'admission.status': 'cancelled' });
    for (const id of [settled, cancelled]) {
      expect(to.admissions(id)).not.to.have.property('ends');
      failOpen(to, NOON + 2, { admission: id });
    }
    expect(used(to)).to.deep.equal([40, 0]);
    expect([...to.timers.keys()]).to.deep.equal(['reset:acme']);
  });

  it('ends what was decided under another id, also in a window that is over, once a retry names both', () => {
    const to = partitionWith();
    const given = givenId();
    const asked = admissionId(given.slice(0, 16));
    admit(to, NOON, { admission: asked, holdMs: 120_000 });
    settle(to, NOON + 1, { ids: [given] }, 40);
    const reply = admit(to, NOON + 40_000, { admission: given, holdMs: 120_000 });
    expect(reply).to.nested.include({ kind: 'admitted', 'admission.status': 'settled' });
    expect(known(to, given)).to.deep.equal([
      { ids: [asked, given], status: 'settled', granted: 100, charged: 40, overrun: 0 },
    ]);
    expect(entries(to).map(([kind]) => kind)).to.deep.equal(['grant', 'reset', 'settle']);
    failOpen(to, NOON + 40_001, { admission: given, asked });
    expect(entries(to).at(-1)).to.deep.equal(['fail_open', 30_000, 0, 0]);
    expect(to.deadLetters).to.deep.equal([]);
  });

  it('waits for its report where a retry is refused, or over under another id', () => {
    const to = partitionWith();
    const [refused, over] = [givenId(), givenId()];
    admit(to, NOON, { estimated: 850 });
    settle(to, NOON, { ids: [refused] }, 30);
    expect(admit(to, NOON, { admission: refused, estimated: 200 })).to.include({ kind: 'refused' });
    const asked = admissionId(over.slice(0, 16));
    admit(to, NOON, { admission: asked });
    cancel(to, NOON, { ids: [asked] });
    settle(to, NOON, { ids: [over] }, 20);
    expect(admit(to, NOON, { admission: over })).to.include({ kind: 'over' });
    failOpen(to, NOON + 1, { admission: refused, estimated: 200 });
    failOpen(to, NOON + 1, { admission: over });
    expect(used(to)).to.deep.equal([50, 850]);
  });

  it('is not kept of an id that a worker gives, nor of what was abandoned', () => {
    const to = partitionWith();
    const abandon = budgetMessage('cancel', { admission: givenId(), abandoned: true });
    expect(settle(to, NOON, { ids: [freshId()] }, 1)).to.deep.equal({ kind: 'not_found' });
    expect(cancel(to, NOON, { ids: [freshId()] })).to.deep.equal({ kind: 'not_found' });
    expect(to.ask<EndReply>(NOON, abandon)).to.deep.equal({ kind: 'not_found' });
    expect(to.documentNames('admission:')).to.deep.equal([]);
  });

  it('ends what was decided meanwhile under another id', () => {
    const to = partitionWith();
    const [first, given] = [freshId(), givenId()];
    const asked = `${given.slice(0, 16)}${first.slice(16)}`;
    settle(to, NOON, { ids: [given] }, 40);
    admit(to, NOON + 1, { admission: asked });
    failOpen(to, NOON + 2, { admission: given, asked });
    expect(known(to, given)).to.deep.equal([
      { ids: [asked, given], status: 'settled', granted: 100, charged: 40, overrun: 0 },
    ]);
    expect(entries(to).map(([kind]) => kind)).to.deep.equal(['grant', 'fail_open', 'settle']);
    expect(used(to)).to.deep.equal([40, 0]);
    expect([...to.timers.keys()]).to.deep.equal(['reset:acme']);
  });

  it('charges what was refused meanwhile', () => {
    const to = partitionWith();
    const given = givenId();
    const asked = admissionId(given.slice(0, 16));
    admit(to, NOON, { estimated: 850 });
    expect(admit(to, NOON, { admission: asked, estimated: 101 })).to.include({ kind: 'refused' });
    settle(to, NOON + 1, { ids: [given] }, 70);
    failOpen(to, NOON + 2, { admission: given, asked, estimated: 101 });
    expect(used(to)).to.deep.equal([70, 850]);
  });

  it('charges what it said also where the key was used with another body', () => {
    const to = partitionWith();
    const ids = givenIds(2);
    admit(to, NOON, { admission: admissionId(ids[0]!.slice(0, 16)), body: 'other' });
    settle(to, NOON, { ids: [ids[0]!] }, 40);
    cancel(to, NOON, { ids: [ids[1]!] });
    for (const admission of ids) failOpen(to, NOON + 1, { admission, body: `body of ${admission}` });
    expect(used(to)).to.deep.equal([40, 100]);
    expect(statusOf(settle(to, NOON + 2, { ids: [ids[0]!] }, 40))).to.equal('ended');
    expect(to.timers.size).to.equal(2);
  });
});

describe('a request that two processes gave undecided', () => {
  for (const [what, ends] of [
    ['the first', [0]],
    ['the second', [1]],
    ['both', [0, 1]],
    ['both, the second first', [1, 0]],
  ] as const) {
    for (const when of ['before', 'between', 'after']) {
      it(`is one admission, debited once, settled by the id of ${what} ${when} the reports`, () => {
        const to = partitionWith();
        const ids = givenIds(2);
        const end = (at: number) => ends.map((n) => settle(to, at, { ids: [ids[n]!] }, 40));
        if (when === 'before') end(NOON);
        failOpen(to, NOON + 1, { admission: ids[0]! });
        if (when === 'between') end(NOON + 2);
        failOpen(to, NOON + 3, { admission: ids[1]! });
        if (when === 'after') end(NOON + 4);
        expect(known(to, ids[0]!)).to.deep.equal([
          { ids, status: 'settled', granted: 100, charged: 40, overrun: 0 },
        ]);
        expect(used(to)).to.deep.equal([40, 0]);
        expect(to.admissions(ids[0]!)).not.to.have.property('ends');
        for (const id of ids) expect(statusOf(settle(to, NOON + 5, { ids: [id] }, 40))).to.equal('ended');
      });
    }
  }

  it('is charged what was settled where the other one was cancelled, in either order', () => {
    for (const order of [
      [0, 1],
      [1, 0],
    ]) {
      const to = partitionWith();
      const ids = givenIds(2);
      settle(to, NOON, { ids: [ids[0]!] }, 40);
      cancel(to, NOON, { ids: [ids[1]!] });
      for (const n of order) failOpen(to, NOON + 1, { admission: ids[n]! });
      expect(used(to)).to.deep.equal([40, 0]);
    }
  });

  it('is one admission however long a report waited, if both were asked for within the dedupe time', () => {
    for (const [waitedMs, settled] of [
      [350_000, 40],
      [100_001, 40],
      [99_999, 140],
    ] as const) {
      const to = partitionWith();
      const ids = givenIds(2);
      failOpen(to, NOON, { admission: ids[0]! });
      settle(to, NOON, { ids: [ids[0]!] }, 40);
      failOpen(to, NOON + 400_000, { admission: ids[1]!, settled: true, waitedMs });
      const sums = to
        .ledger()
        .reduce((sum, entry) => sum + (entry.path.includes('global') ? entry.settled : 0), 0);
      expect(sums, `${waitedMs}`).to.equal(settled);
    }
  });

  it('is charged in full where the report is so old that nobody knows its end', () => {
    const to = partitionWith();
    const id = givenId();
    failOpen(to, NOON, { admission: id, settled: true });
    expect(known(to, id)).to.deep.equal([
      { ids: [id], status: 'settled', granted: 100, charged: 100, overrun: 0 },
    ]);
    const other = givenId();
    settle(to, NOON, { ids: [other] }, 30);
    failOpen(to, NOON, { admission: other, settled: true });
    expect(used(to)).to.deep.equal([130, 0]);
    expect(evaluate(to, NOON, { estimated: 1 })).to.include({ decision: 'ALLOW' });
  });
});
