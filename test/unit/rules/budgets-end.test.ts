import { expect } from 'chai';
import { foldBudgetMessage } from '../../../rules/budgets.js';
import * as names from '../../../shared/keys.js';
import type { EndReply } from '../../../shared/messages/admissions.js';
import {
  admit,
  cancel,
  entries,
  freshId,
  granted,
  NOON,
  partitionWith,
  settle,
  used,
} from './budget-asking.js';
import { admissionId, budgetMessage, budgets } from './budget-messages.js';
import { SETTINGS } from './budget-partition.js';

const CHARGE = { ...SETTINGS, holdExpiry: 'charge' as const };
const END = NOON + 30_000;

const statusOf = (reply: EndReply) =>
  reply.kind === 'not_found' ? [reply.kind] : [reply.kind, reply.admission.status, reply.admission.charged];

describe('settling an admission', () => {
  it('charges what was used and gives the rest back', () => {
    const to = partitionWith();
    const admission = granted(to, NOON);
    const reply = settle(to, NOON + 5, admission, 40);
    expect(reply).to.deep.equal({
      kind: 'ended',
      admission: {
        ...admission,
        status: 'settled',
        charged: 40,
        endedAt: NOON + 5,
        keepUntil: NOON + 3_600_005,
      },
    });
    expect(entries(to)).to.deep.equal([
      ['grant', 0, 100, 0],
      ['settle', 0, -100, 40],
    ]);
    expect(to.ledger().at(-1)).to.include({ seq: 2, tokens: 40, admission: admission.ids[0] });
    for (const level of ['global', 'monitoring']) expect(used(to, level)).to.deep.equal([40, 0]);
    expect(to.state()!.window!.holds).to.equal(0);
    expect([...to.timers.keys()]).to.deep.equal(['reset:acme']);
    expect(to.counts('admission_settled')).to.equal(1);
  });

  it('charges what was used beyond the grant as well, whatever the budget says', () => {
    const to = partitionWith();
    const admission = granted(to, NOON);
    expect(settle(to, NOON, admission, 5000)).to.deep.nested.include({
      'admission.charged': 5000,
      'admission.overrun': 4900,
    });
    expect(entries(to).slice(1)).to.deep.equal([
      ['settle', 0, -100, 100],
      ['overrun', 0, 0, 4900],
    ]);
    expect(used(to)).to.deep.equal([5000, 0]);
    expect(to.counts('overrun_tokens')).to.equal(4900);
    expect(admit(to, NOON, { estimated: 1 })).to.deep.include({
      kind: 'refused',
      by: { level: 'monitoring', available: 0, resetsAt: END },
    });
  });

  it('settles in the window of the grant and overruns in the open one', () => {
    const to = partitionWith();
    const admission = granted(to, NOON + 29_999);
    settle(to, END + 100, admission, 130);
    expect(entries(to)).to.deep.equal([
      ['grant', 0, 100, 0],
      ['reset', 0, 0, 0],
      ['settle', 0, -100, 100],
      ['overrun', 30_000, 0, 30],
    ]);
    expect(used(to)).to.deep.equal([30, 0]);
    expect(to.timers.get('reset:acme')).to.equal(END + 30_000);
  });

  it('again with the same amount is idempotent, with another it is over', () => {
    const to = partitionWith();
    const admission = granted(to, NOON);
    settle(to, NOON, admission, 130);
    expect(statusOf(settle(to, NOON + 1, admission, 130))).to.deep.equal(['ended', 'settled', 130]);
    expect(statusOf(settle(to, NOON + 1, admission, 100))).to.deep.equal(['over', 'settled', 130]);
    expect(statusOf(cancel(to, NOON + 1, admission))).to.deep.equal(['over', 'settled', 130]);
    expect(entries(to)).to.have.lengthOf(3);
  });

  it('finds no admission that was never made, was refused, or is forgotten', () => {
    const to = partitionWith();
    const refused = freshId();
    const admission = granted(to, NOON, { estimated: 950 });
    admit(to, NOON, { admission: refused, estimated: 900 });
    for (const id of [freshId(), refused, admissionId(admission.ids[0]!.slice(0, 16), 9)]) {
      expect(settle(to, NOON, { ids: [id] }, 1)).to.deep.equal({ kind: 'not_found' });
      expect(cancel(to, NOON, { ids: [id] })).to.deep.equal({ kind: 'not_found' });
    }
    settle(to, NOON, admission, 10);
    expect(statusOf(settle(to, NOON + 3_599_999, admission, 10))).to.deep.equal(['ended', 'settled', 10]);
    expect(settle(to, NOON + 3_600_000, admission, 10)).to.deep.equal({ kind: 'not_found' });
  });

  it('throws for an amount that is none, or that sums could not hold, before it changes anything', () => {
    const to = partitionWith();
    const admission = granted(to, NOON);
    settle(to, NOON, admission, 1e12 + 1);
    expect(to.deadLetters).to.deep.equal(['actual is not a whole number from 0 to 1000000000000']);
    const state = structuredClone(to.state()!);
    state.window!.levels.get('global')!.settled = Number.MAX_SAFE_INTEGER - 1000;
    const step = {};
    const full = { ...state, owner: step };
    const before = structuredClone(full);
    const states = {
      state: full,
      admissions: to.admissions(admission.ids[0]!),
      partition: null,
      past: () => null,
    };
    const context = { tenant: 'acme', at: NOON, settings: SETTINGS, names, step };
    const settled = (actual: number) =>
      foldBudgetMessage(budgetMessage('settle', { admission: admission.ids[0]!, actual }), states, context);
    expect(() => settled(901)).to.throw('what is used at global would no longer be exact');
    expect(full).to.deep.equal(before);
    expect(settled(900).state!.window!.levels.get('global')).to.include({
      settled: Number.MAX_SAFE_INTEGER - 100,
      held: 0,
    });
  });
});

describe('cancelling an admission', () => {
  it('gives back what was held', () => {
    const to = partitionWith();
    const admission = granted(to, NOON);
    expect(cancel(to, NOON + 5, admission)).to.deep.equal({
      kind: 'ended',
      admission: {
        ...admission,
        status: 'cancelled',
        charged: 0,
        endedAt: NOON + 5,
        keepUntil: NOON + 3_600_005,
      },
    });
    expect(entries(to).at(-1)).to.deep.equal(['cancel', 0, -100, 0]);
    expect(used(to)).to.deep.equal([0, 0]);
    expect([...to.timers.keys()]).to.deep.equal(['reset:acme']);
    expect(statusOf(cancel(to, NOON + 6, admission))).to.deep.equal(['ended', 'cancelled', 0]);
    expect(statusOf(settle(to, NOON + 6, admission, 0))).to.deep.equal(['over', 'cancelled', 0]);
    expect(entries(to)).to.have.lengthOf(2);
    expect(to.counts('admission_cancelled')).to.equal(1);
  });

  it('as abandoned gives back only what nobody heard of', () => {
    const to = partitionWith();
    const abandon = (admission: string) =>
      to.ask<EndReply>(NOON + 1, budgetMessage('cancel', { admission, abandoned: true }));
    const [once, twice, settled] = [freshId(), freshId(), freshId()];
    for (const admission of [once, twice, twice, settled]) admit(to, NOON, { admission });
    settle(to, NOON, { ids: [settled] }, 10);
    expect(statusOf(abandon(once))).to.deep.equal(['ended', 'cancelled', 0]);
    expect(statusOf(abandon(twice))).to.deep.equal(['over', 'held', null]);
    expect(statusOf(abandon(settled))).to.deep.equal(['over', 'settled', 10]);
    expect(abandon(freshId())).to.deep.equal({ kind: 'not_found' });
    expect(used(to)).to.deep.equal([10, 100]);
  });
});

describe('a hold that expires', () => {
  it('gives its tokens back in the window of the grant', () => {
    const to = partitionWith();
    const admission = granted(to, NOON + 1);
    to.idle(END);
    expect(to.past(NOON)).to.include({ holds: 1, entries: 2 });
    to.idle(END + 1);
    expect(to.admissions(admission.ids[0]!)!.admissions).to.deep.equal([
      {
        ...admission,
        status: 'expired',
        expiry: 'release',
        charged: 0,
        endedAt: END + 1,
        keepUntil: END + 3_600_001,
      },
    ]);
    expect(entries(to)).to.deep.equal([
      ['grant', 0, 100, 0],
      ['reset', 0, 0, 0],
      ['expire', 0, -100, 0],
    ]);
    expect(to.past(NOON)).to.equal(null);
    expect(to.counts('admission_expired')).to.equal(1);
  });

  it('or charges them', () => {
    const to = partitionWith(budgets(), CHARGE);
    const admission = granted(to, NOON, { holdMs: 10 });
    to.idle(NOON + 10);
    expect(used(to)).to.deep.equal([100, 0]);
    expect(to.state()!.window).to.include({ holds: 0, refundable: 1 });
    expect(to.admissions(admission.ids[0]!)!.admissions[0]).to.include({
      status: 'expired',
      expiry: 'charge',
      charged: 100,
    });
  });

  it('sets its timer again when that comes too early, and ignores one that comes too late', () => {
    const to = partitionWith();
    const admission = granted(to, NOON, { holdMs: 10 });
    const [timer] = [...to.timers.keys()].filter((id) => id.startsWith('admission:'));
    to.timers.delete(timer!);
    to.fire(timer!, NOON);
    expect(to.timers.get(timer!)).to.equal(NOON + 10);
    settle(to, NOON + 5, admission, 100);
    const before = to.texts();
    to.idle(NOON + 10).fire(timer!, NOON + 10);
    expect(to.commit().texts()).to.deep.equal(before);
    to.fire('admission:acme:nobodyknowsthis_', NOON + 10);
    expect(to.commit().texts()).to.deep.equal(before);
  });
});

describe('a settle that comes late', () => {
  it('counts in the open window what the expiry had given back', () => {
    const to = partitionWith();
    const admission = granted(to, NOON);
    expect(settle(to, END + 5, admission, 130)).to.deep.nested.include({
      kind: 'ended',
      'admission.status': 'settled',
      'admission.charged': 130,
      'admission.overrun': 0,
      'admission.expiry': 'release',
      'admission.endedAt': END + 5,
    });
    expect(entries(to).slice(1)).to.deep.equal([
      ['expire', 0, -100, 0],
      ['reset', 0, 0, 0],
      ['late_settle', 30_000, 0, 130],
    ]);
    expect(used(to)).to.deep.equal([130, 0]);
    expect(to.counts('admission_late_settle')).to.equal(1);
    expect(to.counts('admission_settled')).to.equal(0);
    expect(statusOf(settle(to, END + 6, admission, 130))).to.deep.equal(['ended', 'settled', 130]);
    expect(statusOf(settle(to, END + 6, admission, 1))).to.deep.equal(['over', 'settled', 130]);
  });

  it('gives back what the expiry charged too much, where it was charged', () => {
    const to = partitionWith(budgets(), CHARGE);
    const admission = granted(to, NOON, { holdMs: 10 });
    to.idle(END + 5);
    expect(to.past(NOON)).to.include({ refundable: 1, revision: 1, keepUntil: END + 3_600_000 });
    settle(to, END + 5, admission, 30);
    expect(entries(to).slice(1)).to.deep.equal([
      ['expire', 0, -100, 100],
      ['reset', 0, 0, 0],
      ['late_settle', 0, 0, -70],
    ]);
    expect(to.past(NOON)).to.equal(null);
    expect(to.snapshots().map(({ revision, levels }) => [revision, levels[0]!.settled])).to.deep.equal([
      [1, 100],
      [2, 30],
    ]);
    expect(to.state()!.window).to.equal(null);
  });

  it('overruns in the open window what the expiry charged too little', () => {
    const to = partitionWith(budgets(), CHARGE);
    const admission = granted(to, NOON, { holdMs: 10 });
    expect(settle(to, END + 5, admission, 130)).to.deep.nested.include({
      'admission.charged': 130,
      'admission.overrun': 30,
    });
    expect(entries(to).slice(3)).to.deep.equal([
      ['late_settle', 0, 0, 0],
      ['overrun', 30_000, 0, 30],
    ]);
    expect(
      to
        .ledger()
        .slice(3)
        .map(({ tokens }) => tokens),
    ).to.deep.equal([130, undefined]);
    expect(to.snapshots().map(({ revision, entries: of }) => [revision, of])).to.deep.equal([
      [1, 3],
      [2, 4],
    ]);
  });

  it('finds nothing once the window it would be given back to is forgotten', () => {
    const brief = { ...CHARGE, keepMs: 1000, dedupeMs: 1 };
    const to = partitionWith(budgets(), { ...brief, keepMs: 100_000 });
    const admission = granted(to, NOON, { holdMs: 10 });
    to.idle(NOON + 10);
    // A restart with another ADMISSION_KEEP_SECONDS between the expiry and the end of the window.
    to.run([{ kind: 'settings', at: NOON + 20, settings: brief }]);
    const before = to.idle(END + 1000).texts();
    expect(settle(to, END + 1000, admission, 30)).to.deep.equal({ kind: 'not_found' });
    expect(cancel(to, END + 1000, admission)).to.deep.equal({ kind: 'not_found' });
    expect(to.texts()).to.deep.equal(before);
  });
});

describe('a cancel that comes late', () => {
  it('changes no tokens where the expiry had given them back', () => {
    const to = partitionWith();
    const admission = granted(to, NOON, { holdMs: 10 });
    expect(cancel(to, NOON + 20, admission)).to.deep.nested.include({
      'admission.status': 'cancelled',
      'admission.charged': 0,
      'admission.expiry': 'release',
    });
    expect(entries(to).slice(1)).to.deep.equal([
      ['expire', 0, -100, 0],
      ['cancel', 0, 0, 0],
    ]);
    expect(statusOf(settle(to, NOON + 30, admission, 5))).to.deep.equal(['over', 'cancelled', 0]);
  });

  it('gives back what the expiry charged', () => {
    const to = partitionWith(budgets(), CHARGE);
    const admission = granted(to, NOON, { holdMs: 10 });
    expect(statusOf(cancel(to, NOON + 20, admission))).to.deep.equal(['ended', 'cancelled', 0]);
    expect(entries(to).at(-1)).to.deep.equal(['cancel', 0, 0, -100]);
    expect(used(to)).to.deep.equal([0, 0]);
    expect(to.state()!.window).to.include({ refundable: 0, holds: 0 });
  });
});
