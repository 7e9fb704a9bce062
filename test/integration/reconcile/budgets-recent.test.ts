import { expect } from 'chai';
import pino from 'pino';
import { Registry } from 'prom-client';
import { reconcileBudgetsTask } from '../../../consumer/reconcile/budgets/budget-task.js';
import {
  type RecentBudgetState,
  readBudgetState,
  writeBudgetState,
} from '../../../consumer/reconcile/budgets/recent-budget-state.js';
import { budgetDocument } from '../../../shared/keys.js';
import { ReconciliationMetrics } from '../../../shared/reconciliation/reconciliation-metrics.js';
import { admit, granted, NOON, putBudgets, settle } from '../../unit/rules/budget-asking.js';
import { budgetMessage, budgets, request, TENANT } from '../../unit/rules/budget-messages.js';
import { BudgetsUnderTest, shown, WINDOW_MS } from './budgets-under-test.js';

const AGREE = { behind: 0, leftOut: 0, outside: 0, lost: 0, drifted: 0, drift: [], comparedHolds: 0 };

describe('reconciler of budgets: what is recent', () => {
  let weir: BudgetsUnderTest;

  beforeEach(async () => {
    weir = await BudgetsUnderTest.start();
    putBudgets(weir.folded, NOON, budgets());
  });

  afterEach(() => weir.close());

  /** One admission in the window that begins so many windows after NOON, settled at once. */
  function spend(window: number, tokens = 10): void {
    const at = NOON + window * WINDOW_MS;
    settle(weir.folded, at + 1, granted(weir.folded, at), tokens);
  }

  /** One admission of each tenant, in one step. */
  function ask(tenants: readonly string[]): void {
    const messages = tenants.map((tenant) => budgetMessage('admit', request(), tenant));
    weir.folded.run(messages.map((message) => ({ kind: 'message', at: NOON, message })));
  }

  it('compares hot windows, and those that ended since the last run', async () => {
    for (const window of [0, 1, 2]) spend(window);
    await weir.commit();
    const first = await weir.recent();
    expect(first.result).to.deep.equal({ ...AGREE, comparedWindows: 3 });
    for (const window of [3, 4]) spend(window);
    await weir.commit();
    const second = await weir.recent(first.state);
    // The one that was open, the one after it, and the open one.
    expect(second.result).to.deep.equal({ ...AGREE, comparedWindows: 3 });
    // Nothing has come since: the one that is open.
    const third = await weir.recent(second.state);
    expect(third.result).to.deep.equal({ ...AGREE, comparedWindows: 1 });
    weir.folded.idle(NOON + 5 * WINDOW_MS);
    await weir.commit();
    const fourth = await weir.recent(third.state);
    expect(fourth.result).to.deep.equal({ ...AGREE, comparedWindows: 1 });
    const fifth = await weir.recent(fourth.state);
    expect(fifth.result).to.deep.equal({ ...AGREE, comparedWindows: 0 });
  });

  it('keeps what it knows in Redis', async () => {
    spend(0);
    ask(['globex']);
    await weir.commit();
    const { state } = await weir.recent();
    await writeBudgetState(weir.redis, weir.keys, state);
    expect(await readBudgetState(weir.redis, weir.keys)).to.deep.equal(state);
    expect([...state.tenants.keys()]).to.deep.equal([TENANT, 'globex']);
    await weir.redis.hset(weir.keys.reconciliation, 'budgets-state', '{"v":2}');
    expect((await readBudgetState(weir.redis, weir.keys)).tenants.size).to.equal(0);
  });

  it('looks at a past window until nothing can change it any more', async () => {
    const held = granted(weir.folded, NOON, { holdMs: 10 * WINDOW_MS });
    spend(1);
    weir.folded.idle(NOON + 2 * WINDOW_MS);
    await weir.commit();
    let { result, state } = await weir.recent();
    expect(result).to.deep.equal({ ...AGREE, comparedWindows: 2 });
    ({ result, state } = await weir.recent(state));
    expect(result).to.deep.equal({ ...AGREE, comparedWindows: 1 });
    settle(weir.folded, NOON + 3 * WINDOW_MS, held, 50);
    await weir.commit();
    ({ result, state } = await weir.recent(state));
    expect(result).to.deep.equal({ ...AGREE, comparedWindows: 1 });
    ({ result } = await weir.recent(state));
    expect(result).to.deep.equal({ ...AGREE, comparedWindows: 0 });
  });

  it('finds drift, and names it in every run until it is gone', async () => {
    spend(0);
    spend(1);
    await weir.commit();
    await weir.postgres.query('UPDATE budget_windows SET settled = 9');
    let { result, state } = await weir.recent();
    const expected = ['global', 'monitoring'].map((level) => `${TENANT} +0 ${level} postgres settled: 10/9`);
    expect(shown(result.drift)).to.deep.equal(expected);
    expect(result.drifted).to.equal(1);
    ({ result, state } = await weir.recent(state));
    expect(shown(result.drift)).to.deep.equal(expected);
    await weir.postgres.query('UPDATE budget_windows SET settled = 10');
    ({ result, state } = await weir.recent(state));
    expect(result).to.deep.equal({ ...AGREE, comparedWindows: 2 });
  });

  it('finds drift of a window that nothing happens in', async () => {
    spend(0);
    await weir.commit();
    const { state } = await weir.recent();
    await weir.tamper(budgetDocument(TENANT), '["monitoring",10,', '["monitoring",0,');
    const { result } = await weir.recent(state);
    expect(shown(result.drift)).to.deep.equal([`${TENANT} +0 monitoring redis settled: 10/0`]);
  });

  it('finds a state that cannot be read', async () => {
    spend(0);
    await weir.commit();
    await weir.redis.set(weir.documentKey(budgetDocument(TENANT)), '{');
    const { result } = await weir.recent();
    expect(shown(result.drift)).to.deep.equal([`${TENANT} redis document: 0/0`]);
  });

  it('says that the sink is behind, and compares what was behind when it has come', async () => {
    spend(0);
    await weir.commit();
    const { state: before } = await weir.recent();
    for (const window of [1, 2, 3]) spend(window);
    await weir.store();
    await weir.archive(4);
    const lagging = await weir.recent(before);
    expect(lagging.result).to.deep.include({ drifted: 0, comparedWindows: 1 });
    expect(lagging.result.behind).to.be.greaterThan(0);
    await weir.archive();
    const { result, state } = await weir.recent(lagging.state);
    expect(result).to.deep.equal({ ...AGREE, comparedWindows: 3 });
    expect((await weir.recent(state)).result).to.deep.equal({ ...AGREE, comparedWindows: 1 });
  });

  it('begins anew with a ledger that Redis has begun anew', async () => {
    spend(0);
    await weir.commit();
    const { state } = await weir.recent();
    const again = await BudgetsUnderTest.start();
    try {
      settle(again.folded, NOON + 5 * WINDOW_MS + 1, granted(again.folded, NOON + 5 * WINDOW_MS), 20);
      await again.commit();
      const { result } = await again.recent(state);
      expect(result).to.deep.equal({ ...AGREE, comparedWindows: 1 });
    } finally {
      await again.close();
    }
  });

  it('leaves out what is too large, and says so', async () => {
    for (let i = 0; i < 6; i += 1) admit(weir.folded, NOON + i, { estimated: 1 });
    await weir.commit();
    const { result, state } = await weir.recent(undefined, { entriesMax: 5 });
    expect(result).to.deep.equal({ ...AGREE, comparedWindows: 0, leftOut: 1 });
    expect((await weir.recent(state)).result).to.deep.equal({ ...AGREE, comparedWindows: 1 });
  });

  it('gets through many windows of a tenant in several runs', async () => {
    for (let window = 0; window < 450; window += 1) spend(window);
    await weir.commit();
    // As if it had looked at the first one.
    const known = { tenant: TENANT, epoch: NOON, seq: 1, since: NOON, again: [] };
    let state: RecentBudgetState = { tenants: new Map([[TENANT, known]]), cursor: '' };
    const seen: number[][] = [];
    for (let run = 0; run < 4; run += 1) {
      const { result, state: after } = await weir.recent(state);
      expect(result.drifted).to.equal(0);
      seen.push([result.comparedWindows, result.leftOut]);
      state = after;
    }
    // The open one every time.
    expect(seen).to.deep.equal([
      [201, 1],
      [201, 1],
      [49, 0],
      [1, 0],
    ]);
  });

  it('goes on with the tenants that there was no time for', async () => {
    // A page is 500 tenants; without time a run looks at one page.
    const tenants = Array.from({ length: 600 }, (_, i) => `t${String(i).padStart(3, '0')}`);
    ask(tenants);
    await weir.commit();
    const first = await weir.recent(undefined, { runMsMax: 0 });
    expect(first.result).to.deep.include({ leftOut: 1, drifted: 0 });
    const second = await weir.recent(first.state, { runMsMax: 0 });
    expect(second.result).to.deep.include({ leftOut: 0, drifted: 0 });
    expect(first.result.comparedWindows + second.result.comparedWindows).to.equal(600);
    // And the one that is only configured.
    expect(second.state.tenants.size).to.equal(601);
  });

  it('logs each difference, and shows the result of the fleet in every process', async () => {
    spend(0);
    await weir.commit();
    await weir.tamper(budgetDocument(TENANT), '["monitoring",10,', '["monitoring",11,');
    const lines: { msg: string; drift: unknown }[] = [];
    const log = pino({ level: 'error' }, { write: (line: string) => lines.push(JSON.parse(line)) });
    const task = reconcileBudgetsTask({
      ...{ redis: weir.redis, keys: weir.keys, pool: weir.pool, log },
      ...{ partitions: 1, intervalMs: 60_000, sinkDelayMs: 0 },
    });
    const registry = new Registry();
    new ReconciliationMetrics(registry, weir.redis, weir.keys);
    const gauges = async (): Promise<number[]> =>
      Promise.all(
        ['drift', 'reconciliation_windows', 'reconciliation_behind', 'reconciliation_left_out'].map(
          async (name) => (await registry.getSingleMetric(`weir_budget_${name}`)!.get()).values[0]!.value,
        ),
      );
    expect(await gauges()).to.deep.equal([0, 0, 0, 0]);
    const figures = await task.run(new AbortController().signal);
    expect(figures).to.deep.equal({ comparedWindows: 1, behind: 0, leftOut: 0, lost: 0, drifted: 1 });
    expect(lines.map(({ msg, drift }) => [msg, drift])).to.deep.equal([
      [
        'budgets do not add up',
        {
          ...{ tenant: TENANT, window: new Date(NOON).toISOString(), level: 'monitoring' },
          ...{ place: 'redis', field: 'settled', expected: 10, found: 11 },
        },
      ],
    ]);
    expect(await gauges()).to.deep.equal([1, 1, 0, 0]);
  });
});
