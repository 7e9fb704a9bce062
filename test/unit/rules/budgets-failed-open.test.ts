import { expect } from 'chai';
import {
  admit,
  cancel,
  entries,
  failOpen,
  freshId,
  granted,
  NOON,
  partitionWith,
  settle,
  used,
} from './budget-asking.js';
import { admissionId } from './budget-messages.js';
import type { BudgetPartition } from './budget-partition.js';

const END = NOON + 30_000;
const admissionOf = (of: BudgetPartition, id: string) => of.admissions(id)!.admissions.at(-1)!;
const alias = (id: string, n: number | string) => admissionId(id.slice(0, 16), n, 'o');

describe('a request that was answered although nobody had decided', () => {
  it('is held for its whole estimate, whatever the budget says', () => {
    const to = partitionWith();
    const admission = freshId();
    failOpen(to, NOON, { admission, estimated: 5000, priority: 'P2', holdMs: 50 });
    expect(admissionOf(to, admission)).to.deep.equal({
      ids: [admission],
      status: 'held',
      decision: 'ALLOW',
      pipeline: 'monitoring',
      priority: 'P2',
      path: ['global', 'monitoring'],
      estimated: 5000,
      granted: 5000,
      window: NOON,
      at: NOON,
      expiresAt: NOON + 50,
      endedAt: null,
      charged: null,
      overrun: 0,
      expiry: null,
      failedOpen: 5000,
      refusedBy: null,
      body: 'body',
      attempts: 1,
      dedupeUntil: NOON + 300_000,
      keepUntil: null,
    });
    expect(entries(to)).to.deep.equal([['fail_open', 0, 5000, 0]]);
    expect(to.ledger()[0]).to.include({ tokens: 5000 });
    expect(to.state()!.window!.levels.get('monitoring')).to.include({ held: 5000, admitted: 1 });
    expect(to.timers.get(`admission:acme:${admission.slice(0, 16)}`)).to.equal(NOON + 50);
    expect([to.counts('admission_failed_open'), to.counts('failed_open_tokens')]).to.deep.equal([1, 5000]);
    settle(to, NOON + 1, { ids: [admission] }, 40);
    expect(used(to)).to.deep.equal([40, 0]);
  });

  it('is settled at once where its caller never comes back', () => {
    const to = partitionWith();
    const admission = freshId();
    failOpen(to, NOON, { admission, settled: true });
    expect(entries(to)).to.deep.equal([['fail_open', 0, 0, 100]]);
    expect(admissionOf(to, admission)).to.include({ status: 'settled', charged: 100, expiresAt: null });
  });

  it('of a pipeline that does not exist is debited at the root', () => {
    const to = partitionWith();
    failOpen(to, NOON, { pipeline: 'nothing' });
    expect(to.ledger()[0]).to.deep.include({ path: ['global'], pipeline: 'nothing' });
    expect(used(to, 'global')).to.deep.equal([0, 100]);
  });

  it('is told twice and debited once, and the retry that reaches the store is the same admission', () => {
    const to = partitionWith();
    const admission = freshId();
    failOpen(to, NOON, { admission });
    failOpen(to, NOON + 1, { admission });
    failOpen(to, NOON + 1, { admission: alias(admission, 1) });
    expect(admit(to, NOON + 2, { admission: alias(admission, 2) })).to.deep.nested.include({
      kind: 'admitted',
      fresh: false,
      'admission.ids': [admission, alias(admission, 1), alias(admission, 2)],
      'admission.failedOpen': 100,
    });
    expect(entries(to)).to.have.lengthOf(1);
    expect(to.counts('admission_failed_open')).to.equal(1);
  });

  it('is nothing new where it was allowed, besides another id', () => {
    const to = partitionWith();
    const { ids } = granted(to, NOON);
    failOpen(to, NOON + 1, { admission: alias(ids[0]!, 1) });
    expect(admissionOf(to, ids[0]!)).to.deep.include({
      ids: [ids[0], alias(ids[0]!, 1)],
      granted: 100,
      failedOpen: 0,
      attempts: 1,
    });
    expect(entries(to).slice(1)).to.deep.equal([['fail_open', 0, 0, 0]]);
    expect(to.counts('failed_open_tokens')).to.equal(0);
    expect(cancel(to, NOON + 2, { ids: [alias(ids[0]!, 1)] })).to.have.property('kind', 'ended');
  });

  it('is given the rest in its window where it was degraded', () => {
    const to = partitionWith();
    const { ids } = granted(to, NOON + 29_990, { estimated: 851 });
    failOpen(to, END + 1, { admission: ids[0]! });
    expect(admissionOf(to, ids[0]!)).to.include({
      granted: 851,
      failedOpen: 425,
      decision: 'ALLOW_DEGRADED',
    });
    expect(entries(to)).to.deep.equal([
      ['grant', 0, 426, 0],
      ['reset', 0, 0, 0],
      ['fail_open', 0, 425, 0],
    ]);
    expect(to.counts('failed_open_tokens')).to.equal(425);
    settle(to, END + 2, { ids }, 851);
    expect(to.snapshots()[0]!.levels[1]).to.include({ settled: 851 });
  });

  it('is granted after all where it was refused', () => {
    const to = partitionWith();
    granted(to, NOON, { estimated: 950 });
    const admission = freshId();
    expect(admit(to, NOON, { admission, estimated: 900 })).to.have.property('kind', 'refused');
    failOpen(to, NOON + 1, { admission: alias(admission, 1), estimated: 900 });
    expect(to.admissions(admission)!.admissions).to.have.lengthOf(1);
    expect(admissionOf(to, admission)).to.deep.include({
      ids: [alias(admission, 1)],
      status: 'held',
      decision: 'ALLOW',
      granted: 900,
      failedOpen: 900,
      refusedBy: null,
      attempts: 2,
    });
    expect(entries(to).at(-1)).to.deep.equal(['fail_open', 0, 900, 0]);
  });

  it('changes no tokens where it has ended already', () => {
    const to = partitionWith();
    const { ids } = granted(to, NOON, { estimated: 851 });
    settle(to, NOON, { ids }, 40);
    failOpen(to, END, { admission: alias(ids[0]!, 1) });
    expect(admissionOf(to, ids[0]!)).to.deep.include({ granted: 426, charged: 40, failedOpen: 0 });
    expect(entries(to).at(-1)).to.deep.equal(['fail_open', 30_000, 0, 0]);
    // The window of the grant is over and was emitted as it was.
    expect(to.snapshots()).to.have.lengthOf(1);
  });

  it('is another request once the dedupe time is over', () => {
    const to = partitionWith();
    const { ids } = granted(to, NOON);
    settle(to, NOON, { ids }, 100);
    failOpen(to, NOON + 300_000, { admission: alias(ids[0]!, 1) });
    expect(to.admissions(ids[0]!)!.admissions.map(({ status }) => status)).to.deep.equal(['settled', 'held']);
  });

  it('has at most 16 ids: the oldest alias goes, never its own', () => {
    const to = partitionWith();
    const { ids } = granted(to, NOON);
    for (let n = 1; n <= 20; n += 1) failOpen(to, NOON, { admission: alias(ids[0]!, n) });
    const known = [ids[0]!, ...Array.from({ length: 15 }, (_, n) => alias(ids[0]!, n + 6))];
    expect(admissionOf(to, ids[0]!).ids).to.deep.equal(known);
    expect(entries(to)).to.have.lengthOf(2);
  });

  it('is not held open by abandoning what somebody was answered', () => {
    const to = partitionWith();
    const { ids } = granted(to, NOON);
    failOpen(to, NOON, { admission: ids[0]! });
    const abandon = { admission: ids[0]!, abandoned: true } as const;
    to.run([
      {
        kind: 'message',
        at: NOON,
        message: { type: 'cancel', tenant: 'acme', subject: 'acme', id: 'x', data: abandon },
      },
    ]);
    expect(admissionOf(to, ids[0]!).status).to.equal('held');
  });
});
