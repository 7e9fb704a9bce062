import { expect } from 'chai';
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
  'admission' in reply ? [reply.kind, reply.admission.status, reply.admission.charged] : [reply.kind];

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
      by: { level: 'monitoring', available: 0, resetsAt: END, version: 1 },
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
