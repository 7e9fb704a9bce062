import { expect } from 'chai';
import type { EndReply } from '../../../shared/messages/admissions.js';
import { cancel, entries, granted, NOON, partitionWith, settle, used } from './budget-asking.js';
import { budgets } from './budget-messages.js';
import { SETTINGS } from './budget-partition.js';

const CHARGE = { ...SETTINGS, holdExpiry: 'charge' as const };
const END = NOON + 30_000;

const statusOf = (reply: EndReply) =>
  'admission' in reply ? [reply.kind, reply.admission.status, reply.admission.charged] : [reply.kind];

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
