import { expect } from 'chai';
import type { EndReply } from '../../../shared/messages/admissions.js';
import { admit, failOpen, freshId, granted, NOON, partitionWith, putBudgets } from './budget-asking.js';
import { budgetMessage, budgets } from './budget-messages.js';
import { type BudgetPartition, SETTINGS } from './budget-partition.js';

const END = NOON + 30_000;
const all = (of: BudgetPartition, id: string) => of.admissions(id)!.admissions;

describe('a refusal', () => {
  const ask = (to: BudgetPartition, at: number, id: string) =>
    admit(to, at, { admission: id, estimated: 100 });
  const used950 = (windowMs: number | null = null) => {
    const to = partitionWith(budgets({ windowMs }));
    granted(to, NOON, { estimated: 850 });
    granted(to, NOON, { estimated: 100 });
    return to;
  };

  it('is not repeated once the budgets have changed', () => {
    const to = used950();
    const id = freshId();
    expect(ask(to, NOON, id).kind).to.equal('refused');
    const more = budgets().levels.map((level) => ({ ...level, limit: level.limit * 2 }));
    putBudgets(to, NOON + 1, budgets({ levels: more }));
    expect(ask(to, NOON + 2, id)).to.include({ kind: 'admitted', fresh: true });
    expect(all(to, id).map(({ status }) => status)).to.deep.equal(['held']);
  });

  it('is not repeated in another window, nor once the end of its window has moved', () => {
    const to = used950(86_400_000);
    const id = freshId();
    ask(to, NOON, id);
    to.run([{ kind: 'settings', at: NOON, settings: { ...SETTINGS, dedupeMs: 86_400_000 } }]);
    putBudgets(to, NOON + 1, budgets({ windowMs: 30_000 }));
    const again = ask(to, NOON + 2, id);
    expect(again).to.deep.nested.include({ kind: 'refused', attempts: 1, 'by.resetsAt': END });
    expect(ask(to, NOON + 3, id)).to.include({ kind: 'refused', attempts: 2 });
    expect(ask(to, END, id)).to.include({ kind: 'admitted', fresh: true });
  });

  it('is remembered for the dedupe time at most', () => {
    const to = used950(86_400_000);
    const id = freshId();
    ask(to, NOON, id);
    expect(all(to, id)[0]).to.include({ dedupeUntil: NOON + 300_000, keepUntil: NOON + 300_000 });
    expect(ask(to, NOON + 299_999, id)).to.include({ kind: 'refused', attempts: 2 });
    expect(ask(to, NOON + 300_000, id)).to.include({ kind: 'refused', attempts: 1 });
  });

  it('that somebody was answered undecided about after the budgets changed is a hold', () => {
    const to = used950();
    const id = freshId();
    ask(to, NOON, id);
    putBudgets(to, NOON + 1, budgets());
    failOpen(to, NOON + 2, { admission: id, estimated: 100 });
    expect(all(to, id).map(({ status, attempts }) => [status, attempts])).to.deep.equal([['held', 1]]);
    const ended = to.ask<EndReply>(NOON + 3, budgetMessage('settle', { admission: id, actual: 5 }));
    expect(ended.kind).to.equal('ended');
  });
});
