import { expect } from 'chai';
import { admit, failOpen, freshId, granted, NOON, partitionWith, settle, used } from './budget-asking.js';
import { admissionId, budgetMessage, budgets, level, put } from './budget-messages.js';
import { SETTINGS } from './budget-partition.js';

describe('a retry of an admission', () => {
  it('is the same admission as it is now, and debits nothing', () => {
    const to = partitionWith();
    const admission = freshId();
    admit(to, NOON, { admission });
    const id = admissionId(admission.slice(0, 16), 7);
    expect(admit(to, NOON + 1, { admission: id })).to.deep.include({
      kind: 'admitted',
      fresh: false,
      remaining: [
        ['global', 9400],
        ['monitoring', 850],
      ],
    });
    to.ask(NOON + 2, budgetMessage('settle', { admission, actual: 40 }));
    const reply = admit(to, NOON + 299_999, { admission: id });
    expect(reply).to.have.nested.property('admission.status', 'settled');
    expect(reply).to.have.nested.property('admission.attempts', 3);
    expect(reply).to.have.nested.property('admission.ids').that.deep.equals([admission]);
    expect(to.ledger().filter(({ kind }) => kind === 'grant')).to.have.lengthOf(1);
    expect(to.counts('admission_retry')).to.equal(2);
  });

  it('is another request once the dedupe time is over, unless the first is held', () => {
    const to = partitionWith();
    const admission = freshId();
    admit(to, NOON, { admission, holdMs: 400_000 });
    expect(admit(to, NOON + 300_000, { admission })).to.include({ kind: 'admitted', fresh: false });
    to.ask(NOON + 300_001, budgetMessage('cancel', { admission }));
    const id = admissionId(admission.slice(0, 16), 8);
    expect(admit(to, NOON + 300_002, { admission: id })).to.include({ kind: 'admitted', fresh: true });
    expect(to.admissions(id)!.admissions.map(({ ids, status }) => [ids, status])).to.deep.equal([
      [[admission], 'cancelled'],
      [[id], 'held'],
    ]);
  });

  it('is the same admission for as long as was promised, also after a restart that promises less', () => {
    const to = partitionWith();
    const { ids } = granted(to, NOON);
    to.run([{ kind: 'settings', at: NOON, settings: { ...SETTINGS, keepMs: 1, dedupeMs: 1 } }]);
    settle(to, NOON, { ids }, 10);
    expect(admit(to, NOON + 299_999, { admission: ids[0]! })).to.include({ kind: 'admitted', fresh: false });
    expect(admit(to, NOON + 300_000, { admission: ids[0]! })).to.include({ kind: 'admitted', fresh: true });
  });

  it('is known by its very id for as long as it is readable', () => {
    const to = partitionWith();
    const { ids } = granted(to, NOON);
    settle(to, NOON, { ids }, 10);
    failOpen(to, NOON + 3_599_999, { admission: ids[0]! });
    expect(to.admissions(ids[0]!)!.admissions).to.have.lengthOf(1);
    expect(to.admissions(ids[0]!)!.admissions[0]).to.include({ status: 'settled', failedOpen: 0 });
  });

  it('with another body is a conflict and counts as no attempt', () => {
    const to = partitionWith();
    const admission = freshId();
    admit(to, NOON, { admission });
    expect(admit(to, NOON, { admission, body: 'other' })).to.deep.equal({ kind: 'conflict' });
    expect(to.admissions(admission)!.admissions[0]!.attempts).to.equal(1);
    expect(to.counts('admission_conflict')).to.equal(1);
  });

  it('of an admission that expired or was cancelled says that it is over', () => {
    const to = partitionWith();
    const [expired, cancelled] = [freshId(), freshId()];
    admit(to, NOON, { admission: expired, holdMs: 10 });
    admit(to, NOON, { admission: cancelled });
    to.ask(NOON + 10, budgetMessage('cancel', { admission: cancelled }));
    for (const [admission, status] of [
      [expired, 'expired'],
      [cancelled, 'cancelled'],
    ] as const) {
      const reply = admit(to, NOON + 20, { admission });
      expect(reply).to.have.property('kind', 'over');
      expect(reply).to.have.nested.property('admission.status', status);
      expect(reply).to.have.nested.property('admission.attempts', 2);
    }
    expect(used(to, 'global')).to.deep.equal([0, 0]);
  });

  it('is not remembered without a key where it was refused, nor where it can never be admitted', () => {
    const to = partitionWith();
    const admission = freshId();
    admit(to, NOON, { estimated: 950 });
    admit(to, NOON, { admission, estimated: 900, keyed: false });
    admit(to, NOON, { admission, estimated: 951 });
    expect(to.admissions(admission)).to.equal(null);
    expect(to.state()!.window!.levels.get('monitoring')!.refused).to.equal(1);
  });

  it('still finds its admission when the pipeline is gone', () => {
    const to = partitionWith();
    const admission = freshId();
    admit(to, NOON, { admission });
    to.ask(NOON, budgetMessage('budgets_put', put(budgets({ levels: [level('global', null, 10_000)] }))));
    expect(admit(to, NOON, { admission })).to.deep.include({ kind: 'admitted', fresh: false, remaining: [] });
    expect(admit(to, NOON)).to.deep.equal({ kind: 'unknown_pipeline', pipelines: [] });
  });

  it('forgets what is not readable any more and never remembers more than 32 requests of a key', () => {
    const settings = { ...SETTINGS, dedupeMs: 1, keepMs: 1000 };
    const to = partitionWith(budgets(), settings);
    const ids = Array.from({ length: 40 }, (_, n) => admissionId('many', n));
    ids.forEach((admission, n) => {
      admit(to, NOON + 2 * n, { admission, estimated: 1 });
      to.ask(NOON + 2 * n, budgetMessage('cancel', { admission }));
    });
    const known = () => to.admissions(ids[0]!)!.admissions.map((admission) => admission.ids[0]);
    expect(known()).to.deep.equal(ids.slice(-32));
    const late = admissionId('many', 99);
    admit(to, NOON + 1060, { admission: late, estimated: 1 });
    // Those cancelled at 60 and before are forgotten at 1060.
    expect(known()).to.deep.equal([...ids.slice(31), late]);
  });
});
