import { expect } from 'chai';
import { admit, freshId, NOON, partitionWith, used } from './budget-asking.js';
import { budgetMessage, budgets, level, request } from './budget-messages.js';
import { BudgetPartition, SETTINGS } from './budget-partition.js';

describe('admission', () => {
  it('refuses a pipeline that does not exist, and the root, and changes nothing', () => {
    const to = new BudgetPartition();
    for (const pipeline of ['nothing', 'global', '__proto__']) {
      expect(admit(to, NOON, { pipeline })).to.deep.equal({
        kind: 'unknown_pipeline',
        pipelines: ['monitoring', 'enrichment', 'ranking'],
      });
    }
    expect(to.texts()).to.deep.equal({});
  });

  it('holds the estimate at every level of the path and says what is left', () => {
    const to = partitionWith();
    const admission = freshId();
    expect(admit(to, NOON + 1, { admission })).to.deep.equal({
      kind: 'admitted',
      fresh: true,
      admission: {
        ids: [admission],
        status: 'held',
        decision: 'ALLOW',
        pipeline: 'monitoring',
        priority: 'P1',
        path: ['global', 'monitoring'],
        estimated: 100,
        granted: 100,
        window: NOON,
        at: NOON + 1,
        expiresAt: NOON + 30_001,
        endedAt: null,
        charged: null,
        overrun: 0,
        expiry: null,
        failedOpen: null,
        refusedBy: null,
        body: 'body',
        attempts: 1,
        dedupeUntil: NOON + 300_001,
        keepUntil: null,
      },
      remaining: [
        ['global', 9400],
        ['monitoring', 850],
      ],
    });
    expect(used(to, 'global')).to.deep.equal([0, 100]);
    expect(used(to, 'monitoring')).to.deep.equal([0, 100]);
    expect(to.state()!.window!.levels.has('ranking')).to.equal(false);
    expect(to.ledger()).to.deep.equal([
      {
        tenant: 'acme',
        epoch: NOON,
        seq: 1,
        at: NOON + 1,
        kind: 'grant',
        window: NOON,
        path: ['global', 'monitoring'],
        held: 100,
        settled: 0,
        admission,
        pipeline: 'monitoring',
        priority: 'P1',
        tokens: 100,
      },
    ]);
    expect(to.timers.get(`admission:acme:${admission.slice(0, 16)}`)).to.equal(NOON + 30_001);
    expect(to.timers.get('reset:acme')).to.equal(NOON + 30_000);
  });

  it('crosses a threshold only when strictly above it: allowed, degraded, refused', () => {
    const to = partitionWith();
    const decisions = [];
    for (const estimated of [850, 1, 100]) {
      const reply = admit(to, NOON, { estimated });
      decisions.push(
        reply.kind === 'admitted' ? [reply.admission.decision, reply.admission.granted] : reply.kind,
      );
    }
    // 850 is the soft cap; 851 is above it and debits half, rounded up; 851 + 100 is above the hard cap of 950.
    expect(decisions).to.deep.equal([['ALLOW', 850], ['ALLOW_DEGRADED', 1], 'refused']);
    expect(admit(to, NOON, { estimated: 99 })).to.have.property('kind', 'admitted');
    expect(used(to, 'monitoring')).to.deep.equal([0, 901]);
  });

  it('debits half of what a degraded request asks for, rounded up, but decides by all of it', () => {
    const to = partitionWith();
    admit(to, NOON, { estimated: 800 });
    const reply = admit(to, NOON, { estimated: 101 });
    expect(reply).to.deep.include({
      kind: 'admitted',
      remaining: [
        ['global', 8649],
        ['monitoring', 99],
      ],
    });
    expect(reply).to.have.nested.property('admission.granted', 51);
    expect(to.ledger().at(-1)).to.include({ kind: 'grant', held: 51, tokens: 101 });
  });

  it('lets P0 pass the soft and the hard threshold, but not its own', () => {
    const to = partitionWith();
    expect(admit(to, NOON, { priority: 'P0', estimated: 1400 })).to.have.nested.property(
      'admission.decision',
      'ALLOW',
    );
    expect(admit(to, NOON, { priority: 'P0', estimated: 101 })).to.deep.equal({
      kind: 'refused',
      by: { level: 'monitoring', available: 100, resetsAt: NOON + 30_000, version: 1 },
      retryAfterMs: 30_000,
      attempts: 1,
    });
    expect(admit(to, NOON, { priority: 'P0', estimated: 100 })).to.have.nested.property(
      'admission.granted',
      100,
    );
    expect(admit(to, NOON)).to.deep.include({ kind: 'refused' });
  });

  it('uses the thresholds of P2 for P2, and those of P1 where P2 has none', () => {
    const own = level('monitoring', 'global', 1000, { p2Soft: 100_000, p2Hard: 200_000 });
    const to = partitionWith(
      budgets({ levels: [level('global', null, 10_000), own, level('ranking', 'global', 2000)] }),
    );
    const decisions = (priority: 'P1' | 'P2', pipeline: string, estimated: number) => {
      const reply = admit(to, NOON, { priority, pipeline, estimated });
      return reply.kind === 'admitted' ? reply.admission.decision : reply.kind;
    };
    expect(decisions('P2', 'monitoring', 100)).to.equal('ALLOW');
    expect(decisions('P2', 'monitoring', 100)).to.equal('ALLOW_DEGRADED');
    expect(decisions('P2', 'monitoring', 51)).to.equal('refused');
    expect(decisions('P1', 'monitoring', 51)).to.equal('ALLOW');
    expect(decisions('P2', 'ranking', 1700)).to.equal('ALLOW');
  });

  it('says of several levels that refuse the one nearest to the root, and debits none', () => {
    const levels = [level('global', null, 1000), level('team', 'global', 500), level('job', 'team', 400)];
    const to = partitionWith(budgets({ levels }));
    admit(to, NOON, { pipeline: 'job', estimated: 340 });
    expect(admit(to, NOON, { pipeline: 'job', estimated: 300 })).to.deep.equal({
      kind: 'refused',
      by: { level: 'team', available: 135, resetsAt: NOON + 30_000, version: 1 },
      retryAfterMs: 30_000,
      attempts: 1,
    });
    for (const name of ['global', 'team', 'job']) expect(used(to, name)).to.deep.equal([0, 340]);
    const refused = ['global', 'team', 'job'].map((name) => to.state()!.window!.levels.get(name)!.refused);
    expect(refused).to.deep.equal([0, 1, 0]);
    // A middle level is a pipeline as well.
    expect(admit(to, NOON, { pipeline: 'team', estimated: 85 })).to.have.nested.property(
      'admission.decision',
      'ALLOW',
    );
  });

  it('degrades because of any level of the path', () => {
    const levels = [level('global', null, 1000, { soft: 1 }), level('job', 'global', 900)];
    const to = partitionWith(budgets({ levels }));
    expect(admit(to, NOON, { pipeline: 'job' })).to.have.nested.property(
      'admission.decision',
      'ALLOW_DEGRADED',
    );
  });

  it('counts what is admitted, degraded and refused', () => {
    const to = partitionWith();
    for (const estimated of [850, 50, 500]) admit(to, NOON, { estimated });
    const window = to.state()!.window!;
    expect(window.levels.get('monitoring')).to.include({ admitted: 2, degraded: 1, refused: 1 });
    expect(window.levels.get('global')).to.include({ admitted: 2, degraded: 1, refused: 0 });
    expect(['allow', 'allow_degraded', 'reject'].map((of) => to.counts(`admission_${of}`))).to.deep.equal([
      1, 1, 1,
    ]);
    expect(to.counts('granted_tokens')).to.equal(875);
  });

  it('refuses for good what is larger than the share of one request, at the root', () => {
    const to = partitionWith(budgets({ maxRequestShare: 50_000 }));
    expect(admit(to, NOON, { pipeline: 'ranking', estimated: 501, priority: 'P0' })).to.deep.equal({
      kind: 'too_large',
      level: 'global',
      tokensMax: 500,
    });
    expect(admit(to, NOON, { pipeline: 'ranking', estimated: 500 })).to.have.property('kind', 'admitted');
    expect(to.counts('admission_reject')).to.equal(1);
  });

  it('refuses for good what a level could not admit with nothing used', () => {
    const to = partitionWith();
    const never = (tokensMax: number) => ({ kind: 'too_large', level: 'monitoring', tokensMax });
    expect(admit(to, NOON, { estimated: 951 })).to.deep.equal(never(950));
    expect(admit(to, NOON, { estimated: 1501, priority: 'P0' })).to.deep.equal(never(1500));
    expect(to.state()!.window).to.equal(null);
    expect(to.documentNames('admission:')).to.deep.equal([]);
    expect(admit(to, NOON, { estimated: 950 })).to.have.nested.property('admission.granted', 475);
  });

  it('rounds thresholds down and is exact for the largest limits', () => {
    const limit = 999_999_999_999;
    const levels = [
      level('global', null, limit),
      level('job', 'global', 3, { soft: 333_334, hard: 999_999 }),
    ];
    const to = partitionWith(budgets({ levels, degradedDebit: 999_999 }));
    // 3 × 0.333334 = 1.000002, 3 × 0.999999 = 2.999997.
    expect(admit(to, NOON, { pipeline: 'job', estimated: 1 })).to.have.nested.property(
      'admission.decision',
      'ALLOW',
    );
    expect(admit(to, NOON, { pipeline: 'job', estimated: 2 })).to.deep.include({
      kind: 'refused',
      by: { level: 'job', available: 1, resetsAt: NOON + 30_000, version: 1 },
    });
    const big = partitionWith(
      budgets({
        levels: [level('global', null, limit), level('job', 'global', limit)],
        degradedDebit: 333_333,
      }),
    );
    const asked = 949_999_999_999;
    expect(admit(big, NOON, { pipeline: 'job', estimated: asked })).to.have.nested.property(
      'admission.granted',
      Number((BigInt(asked) * 333_333n + 999_999n) / 1_000_000n),
    );
  });

  it('holds for as long as is asked, else as is set, else for the length of the window', () => {
    const expiresAt = (to: BudgetPartition, asked = {}) => {
      const reply = admit(to, NOON + 5, asked);
      return reply.kind === 'admitted' ? reply.admission.expiresAt : undefined;
    };
    expect(expiresAt(partitionWith(), { holdMs: 7 })).to.equal(NOON + 12);
    expect(expiresAt(partitionWith(budgets(), { ...SETTINGS, holdMs: 1000 }))).to.equal(NOON + 1005);
    expect(expiresAt(partitionWith(budgets({ windowMs: 60_000 })))).to.equal(NOON + 60_005);
  });

  it('decides for a tenant that nobody configured by the defaults', () => {
    const to = new BudgetPartition();
    expect(admit(to, NOON, { estimated: 100_001 })).to.deep.equal({
      kind: 'too_large',
      level: 'global',
      tokensMax: 100_000,
    });
    expect(admit(to, NOON)).to.deep.include({
      remaining: [
        ['global', 949_900],
        ['monitoring', 332_400],
      ],
    });
    expect(to.state()).to.include({ config: null, epoch: NOON, entries: 1 });
  });

  it('answers nobody where nobody waits', () => {
    const { reply: _reply, ...message } = budgetMessage('admit', request());
    expect(partitionWith().ask(NOON, message)).to.equal(undefined);
  });
});
