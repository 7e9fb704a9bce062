import { expect } from 'chai';
import type { EndReply } from '../../../shared/messages/admissions.js';
import {
  admit,
  entries,
  evaluate,
  failOpen,
  freshId,
  granted,
  NOON,
  partitionWith,
  putBudgets,
  settle,
  used,
} from './budget-asking.js';
import { admissionId, budgetMessage, budgets, request } from './budget-messages.js';
import { type BudgetPartition, SETTINGS } from './budget-partition.js';

const END = NOON + 30_000;
const all = (of: BudgetPartition, id: string) => of.admissions(id)!.admissions;
const refusals = (of: BudgetPartition, level = 'monitoring') =>
  of.state()!.window!.levels.get(level)?.refused ?? 0;

describe('a refusal that is asked again', () => {
  /** 900 of 1000 are held (half of the last 100): the first of the two can be settled with less. */
  const used900 = (windowMs: number | null = null) => {
    const to = partitionWith(budgets({ windowMs }));
    const large = granted(to, NOON, { estimated: 850 });
    granted(to, NOON, { estimated: 100 });
    return { to, large };
  };
  const ask = (to: BudgetPartition, at: number, id: string, estimated = 100) =>
    admit(to, at, { admission: id, estimated });

  it('is decided anew: admitted once there is room, and one debit after that', () => {
    const { to, large } = used900();
    const id = freshId();
    expect(ask(to, NOON, id)).to.include({ kind: 'refused', attempts: 1 });
    settle(to, NOON + 1, large, 10);
    const reply = ask(to, NOON + 2, id);
    expect(reply).to.include({ kind: 'admitted', fresh: true });
    expect(reply).to.have.nested.property('admission.attempts', 2);
    const retry = admissionId(id.slice(0, 16), 7);
    expect(ask(to, NOON + 3, retry)).to.include({ kind: 'admitted', fresh: false });
    expect(all(to, id)).to.have.lengthOf(1);
    expect(all(to, id)[0]).to.deep.include({ ids: [id], status: 'held', attempts: 3, refusedBy: null });
    expect(used(to)).to.deep.equal([10, 150]);
    expect(entries(to).filter(([kind]) => kind === 'grant')).to.have.lengthOf(3);
    expect(to.counts('admission_retry')).to.equal(2);
  });

  it('says what is available now and when it resets now, and counts its attempts on', () => {
    const { to, large } = used900();
    const id = freshId();
    const refused = (available: number, retryAfterMs: number, attempts: number) => ({
      kind: 'refused',
      by: { level: 'monitoring', available, resetsAt: END, version: 1 },
      retryAfterMs,
      attempts,
    });
    expect(ask(to, NOON, id, 950)).to.deep.equal(refused(50, 30_000, 1));
    settle(to, NOON + 1, large, 0);
    expect(ask(to, NOON + 2, id, 950)).to.deep.equal(refused(900, 29_998, 2));
    expect(ask(to, END - 1, id, 950)).to.deep.equal(refused(900, 1, 3));
  });

  it('moves the counts of refusals once in each window, and those of retries every time', () => {
    const { to } = used900();
    const id = freshId();
    for (let n = 0; n < 5; n += 1) expect(ask(to, NOON + n, id)).to.include({ attempts: n + 1 });
    expect([refusals(to), to.counts('admission_reject'), to.counts('admission_retry')]).to.deep.equal([
      1, 1, 4,
    ]);
    granted(to, END, { estimated: 850 });
    granted(to, END, { estimated: 100 });
    for (const attempts of [6, 7])
      expect(ask(to, END + attempts, id)).to.include({ kind: 'refused', attempts });
    expect([refusals(to), to.counts('admission_reject'), to.counts('admission_retry')]).to.deep.equal([
      1, 2, 6,
    ]);
  });

  it('moves them once also while it is asked again for longer than a request is remembered', () => {
    const { to } = used900(86_400_000);
    const id = freshId();
    for (const at of [0, 299_999, 599_998]) ask(to, NOON + at, id);
    expect(all(to, id)[0]).to.include({
      attempts: 3,
      dedupeUntil: NOON + 899_998,
      keepUntil: NOON + 899_998,
    });
    expect(refusals(to)).to.equal(1);
    expect(ask(to, NOON + 899_998, id)).to.include({ kind: 'refused', attempts: 1 });
    expect(refusals(to)).to.equal(2);
  });

  it('moves them once where others are decided between, by whichever level it is refused', () => {
    const { to, large } = used900();
    const id = freshId();
    ask(to, NOON, id);
    settle(to, NOON + 1, large, 0);
    putBudgets(
      to,
      NOON + 2,
      budgets({ levels: budgets().levels.map((each) => ({ ...each, hard: 10_000 })) }),
    );
    expect(ask(to, NOON + 3, id)).to.deep.include({ kind: 'too_large' });
    putBudgets(to, NOON + 4, budgets());
    granted(to, NOON + 5, { pipeline: 'ranking', estimated: 1500 });
    const tight = budgets().levels.map((each) => (each.parent === null ? { ...each, limit: 1700 } : each));
    putBudgets(to, NOON + 6, budgets({ levels: tight }));
    expect(ask(to, NOON + 7, id)).to.deep.nested.include({
      kind: 'refused',
      'by.level': 'global',
      attempts: 2,
    });
    expect([refusals(to), refusals(to, 'global')]).to.deep.equal([1, 0]);
  });

  it('is decided once where several come in one step', () => {
    const { to, large } = used900();
    const id = freshId();
    const messages = Array.from({ length: 6 }, (_, n) =>
      budgetMessage('admit', request({ admission: admissionId(id.slice(0, 16), n) })),
    );
    messages.splice(2, 0, budgetMessage('settle', { admission: large.ids[0]!, actual: 0 }) as never);
    to.run(messages.map((message) => ({ kind: 'message', at: NOON, message })));
    expect(all(to, id)).to.have.lengthOf(1);
    expect(all(to, id)[0]).to.include({ status: 'held', attempts: 6 });
    expect([used(to), refusals(to)]).to.deep.equal([[0, 150], 1]);
  });

  it('with another body is a conflict for as long as it is remembered, in the next window too', () => {
    const { to } = used900();
    const id = freshId();
    ask(to, NOON, id);
    const other = { admission: id, body: 'other' };
    expect(admit(to, NOON + 1, other)).to.deep.equal({ kind: 'conflict' });
    expect(admit(to, END + 1, other)).to.deep.equal({ kind: 'conflict' });
    expect(all(to, id)[0]).to.include({ status: 'refused', attempts: 1 });
    expect(admit(to, NOON + 300_000, other)).to.include({ kind: 'admitted', fresh: true });
  });

  it('is decided by the budgets of now', () => {
    const { to } = used900();
    const id = freshId();
    expect(ask(to, NOON, id).kind).to.equal('refused');
    const more = budgets().levels.map((level) => ({ ...level, limit: level.limit * 2 }));
    putBudgets(to, NOON + 1, budgets({ levels: more }));
    expect(ask(to, NOON + 2, id)).to.include({ kind: 'admitted', fresh: true });
    expect(all(to, id).map(({ status }) => status)).to.deep.equal(['held']);
  });

  it('says when it resets once the end of its window has moved', () => {
    const { to } = used900(86_400_000);
    const id = freshId();
    ask(to, NOON, id);
    putBudgets(to, NOON + 1, budgets({ windowMs: 30_000 }));
    const again = ask(to, NOON + 2, id);
    expect(again).to.deep.nested.include({ kind: 'refused', attempts: 2, 'by.resetsAt': END });
    expect(refusals(to)).to.equal(1);
    expect(ask(to, END, id)).to.include({ kind: 'admitted', fresh: true });
  });

  it('by an evaluate of its own key only: the two share no keys', () => {
    const { to, large } = used900();
    const id = freshId();
    expect(evaluate(to, NOON, { admission: id })).to.include({ decision: 'REJECT' });
    settle(to, NOON + 1, large, 0);
    expect(evaluate(to, NOON + 2, { admission: id })).to.include({ decision: 'ALLOW', granted: 100 });
    expect(evaluate(to, NOON + 3, { admission: id })).to.include({ decision: 'ALLOW', granted: 100 });
    expect(used(to)).to.deep.equal([100, 50]);
    expect([refusals(to), all(to, id)[0]!.attempts]).to.deep.equal([1, 3]);
  });

  it('is a hold where somebody was answered undecided meanwhile, also in another window', () => {
    for (const at of [NOON + 2, END + 2]) {
      const { to } = used900();
      const id = freshId();
      ask(to, NOON, id);
      putBudgets(to, NOON + 1, budgets());
      failOpen(to, at, { admission: id, estimated: 100 });
      expect(all(to, id).map(({ status, attempts }) => [status, attempts])).to.deep.equal([['held', 2]]);
      expect(ask(to, at + 1, id)).to.include({ kind: 'admitted', fresh: false });
      const ended = to.ask<EndReply>(at + 2, budgetMessage('settle', { admission: id, actual: 5 }));
      expect(ended.kind).to.equal('ended');
    }
  });

  it('and admitted by then is what somebody was answered undecided about', () => {
    const { to, large } = used900();
    const id = freshId();
    ask(to, NOON, id);
    settle(to, NOON + 1, large, 0);
    const retry = admissionId(id.slice(0, 16), 1);
    ask(to, NOON + 2, retry);
    const told = admissionId(id.slice(0, 16), 2, 'o');
    failOpen(to, NOON + 3, { admission: told, asked: id, estimated: 100 });
    expect(all(to, id).map(({ ids, status, failedOpen }) => [ids, status, failedOpen])).to.deep.equal([
      [[retry, told], 'held', 0],
    ]);
    expect(used(to)).to.deep.equal([0, 150]);
  });

  it('is forgotten with its document', () => {
    const { to } = used900();
    to.run([{ kind: 'settings', at: NOON, settings: { ...SETTINGS, dedupeMs: 1000 } }]);
    const id = freshId();
    ask(to, NOON, id);
    expect(to.idle(NOON + 999).admissions(id)).not.to.equal(null);
    expect(to.idle(NOON + 1000).admissions(id)).to.equal(null);
  });
});
