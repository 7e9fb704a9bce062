import { expect } from 'chai';
import { type EndReply, FLEETING_MS } from '../../../shared/messages/admissions.js';
import { evaluate, failOpen, freshId, granted, NOON, partitionWith, settle, used } from './budget-asking.js';
import { admissionId, budgetMessage } from './budget-messages.js';

describe('evaluation', () => {
  it('settles at once', () => {
    const to = partitionWith();
    expect(evaluate(to, NOON, { keyed: false })).to.deep.equal({
      kind: 'evaluated',
      decision: 'ALLOW',
      granted: 100,
      remaining: [
        ['global', 9400],
        ['monitoring', 850],
      ],
    });
    expect(used(to, 'global')).to.deep.equal([100, 0]);
    expect(used(to, 'monitoring')).to.deep.equal([100, 0]);
    expect(to.ledger()).to.have.lengthOf(1);
    expect(to.ledger()[0]).to.include({ kind: 'grant', held: 0, settled: 100, tokens: 100 });
    expect(to.documentNames('admission:')).to.deep.equal([]);
    expect([...to.timers.keys()]).to.deep.equal(['reset:acme']);
  });

  it('rejects with the reason, and remembers nothing without a key', () => {
    const to = partitionWith();
    evaluate(to, NOON, { estimated: 850, keyed: false });
    const remaining = [
      ['global', 8650],
      ['monitoring', 100],
    ];
    expect(evaluate(to, NOON + 1000, { estimated: 101, keyed: false })).to.deep.equal({
      kind: 'evaluated',
      decision: 'REJECT',
      granted: 0,
      remaining,
      refused: {
        by: { level: 'monitoring', available: 100, resetsAt: NOON + 30_000, version: 1 },
        retryAfterMs: 29_000,
        attempts: 1,
      },
    });
    expect(evaluate(to, NOON, { estimated: 951 })).to.deep.equal({
      kind: 'evaluated',
      decision: 'REJECT',
      granted: 0,
      remaining,
      tooLarge: { level: 'monitoring', tokensMax: 950 },
    });
    expect(evaluate(to, NOON, { pipeline: 'global' })).to.have.property('kind', 'unknown_pipeline');
    expect(to.documentNames('admission:')).to.deep.equal([]);
    expect(to.ledger()).to.have.lengthOf(1);
  });

  it('is remembered with a key: one debit, the same answer, a conflict for another body', () => {
    const to = partitionWith();
    const admission = freshId();
    evaluate(to, NOON, { admission, estimated: 851 });
    expect(evaluate(to, NOON + 1, { admission, estimated: 851 })).to.deep.include({
      decision: 'ALLOW_DEGRADED',
      granted: 426,
      remaining: [
        ['global', 9074],
        ['monitoring', 524],
      ],
    });
    expect(evaluate(to, NOON + 2, { admission, body: 'other' })).to.deep.equal({ kind: 'conflict' });
    expect(to.ledger()).to.have.lengthOf(1);
    expect(to.admissions(admission)!.admissions).to.have.lengthOf(1);
    expect(to.admissions(admission)!.admissions[0]).to.include({
      status: 'settled',
      charged: 426,
      endedAt: NOON,
      expiresAt: null,
      attempts: 2,
      keepUntil: NOON + 3_600_000,
    });
  });

  it('without a key is remembered for a moment, and no rejection of it is', () => {
    const to = partitionWith();
    const admission = freshId();
    evaluate(to, NOON, { admission, fleeting: true });
    expect(to.admissions(admission)!.admissions[0]).to.include({
      status: 'settled',
      dedupeUntil: NOON + FLEETING_MS,
      keepUntil: NOON + FLEETING_MS,
    });
    evaluate(to, NOON, { estimated: 850, fleeting: true });
    const refused = freshId();
    expect(evaluate(to, NOON, { admission: refused, estimated: 426, fleeting: true })).to.include({
      decision: 'REJECT',
    });
    expect(to.admissions(refused)).to.equal(null);
  });

  it('without a key is the same as an equal one for as long as it says, and is remembered for a moment', () => {
    const to = partitionWith();
    const id = freshId();
    const ask = (at: number, n: number, dedupeMs: number, estimated = 100) =>
      evaluate(to, at, {
        ...{ admission: admissionId(id.slice(0, 16), n), fleeting: true, dedupeMs, estimated },
      });
    for (let n = 0; n < 10; n += 1) expect(ask(NOON + n * 50, n, 500)).to.include({ granted: 100 });
    expect(used(to, 'monitoring')).to.deep.equal([100, 0]);
    ask(NOON + 499, 10, 500);
    expect(used(to, 'monitoring')).to.deep.equal([100, 0]);
    ask(NOON + 500, 11, 500);
    expect(used(to, 'monitoring')).to.deep.equal([200, 0]);
    expect(
      to.admissions(id)!.admissions.map(({ attempts, keepUntil }) => [attempts, keepUntil]),
    ).to.deep.equal([
      [11, NOON + FLEETING_MS],
      [1, NOON + 500 + FLEETING_MS],
    ]);
    // One that was answered undecided is known for longer than it is the same as another.
    failOpen(to, NOON + 2000, { admission: id, settled: true, fleeting: true, dedupeMs: 500 });
    expect(used(to, 'monitoring')).to.deep.equal([200, 0]);
    expect(to.idle(NOON + 500 + FLEETING_MS).admissions(id)).to.equal(null);
  });

  it('without a key that was refused counts as one with its equals, and as another after', () => {
    const to = partitionWith();
    evaluate(to, NOON, { estimated: 950, keyed: false });
    const id = freshId();
    const ask = (at: number) =>
      evaluate(to, at, { admission: id, fleeting: true, dedupeMs: 10, estimated: 900 });
    for (const at of [NOON, NOON + 9, NOON + 18]) expect(ask(at)).to.include({ decision: 'REJECT' });
    expect(to.state()!.window!.levels.get('monitoring')!.refused).to.equal(1);
    ask(NOON + 28);
    expect(to.state()!.window!.levels.get('monitoring')!.refused).to.equal(2);
  });

  it('that nobody heard of is given back, once, while its window is open', () => {
    const to = partitionWith();
    const abandon = (at: number, admission: string) =>
      to.ask<EndReply>(at, budgetMessage('cancel', { admission, abandoned: true }));
    const admission = freshId();
    evaluate(to, NOON, { admission, fleeting: true });
    expect(abandon(NOON + 1, admission).kind).to.equal('ended');
    expect(used(to, 'global')).to.deep.equal([0, 0]);
    expect(abandon(NOON + 2, admission).kind).to.equal('ended');
    expect(used(to, 'monitoring')).to.deep.equal([0, 0]);
    const late = freshId();
    evaluate(to, NOON + 29_999, { admission: late, fleeting: true });
    expect(abandon(NOON + 30_001, late).kind).to.equal('over');
    const retried = freshId();
    evaluate(to, NOON + 31_000, { admission: retried });
    evaluate(to, NOON + 31_000, { admission: retried });
    expect(abandon(NOON + 31_001, retried).kind).to.equal('over');
    expect(used(to, 'monitoring')).to.deep.equal([100, 0]);
  });

  it('without a key that was answered undecided is charged once', () => {
    const to = partitionWith();
    const admission = freshId();
    evaluate(to, NOON, { admission, fleeting: true });
    failOpen(to, NOON + 1, { admission, settled: true, fleeting: true });
    expect(used(to, 'monitoring')).to.deep.equal([100, 0]);
  });

  it('that was rejected is decided anew when it is asked again, and is one debit then', () => {
    const to = partitionWith();
    const admission = freshId();
    const used950 = granted(to, NOON, { estimated: 950 });
    evaluate(to, NOON, { admission, estimated: 900 });
    settle(to, NOON + 5, used950, 440);
    expect(evaluate(to, NOON + 10, { admission, estimated: 900 })).to.deep.include({
      decision: 'REJECT',
      refused: {
        by: { level: 'monitoring', available: 510, resetsAt: NOON + 30_000, version: 1 },
        retryAfterMs: 29_990,
        attempts: 2,
      },
    });
    expect(to.state()!.window!.levels.get('monitoring')!.refused).to.equal(1);
    const again = { admission, estimated: 900 };
    expect(evaluate(to, NOON + 30_000, again)).to.deep.include({ decision: 'ALLOW_DEGRADED', granted: 450 });
    expect(evaluate(to, NOON + 30_001, again)).to.deep.include({ decision: 'ALLOW_DEGRADED', granted: 450 });
    expect(used(to)).to.deep.equal([450, 0]);
    expect(to.admissions(admission)!.admissions).to.have.lengthOf(1);
    expect(to.admissions(admission)!.admissions[0]).to.include({ status: 'settled', attempts: 4 });
  });
});
