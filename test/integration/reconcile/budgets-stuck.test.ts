import { expect } from 'chai';
import { budgetsAsText } from '../../../consumer/reconcile/budgets/budget-report.js';
import { admissionDocument, budgetResetTimer } from '../../../shared/keys.js';
import { admissionKey } from '../../../shared/messages/admissions.js';
import type { Admission } from '../../../shared/state/budget-state.js';
import { granted, NOON, putBudgets } from '../../unit/rules/budget-asking.js';
import { budgets, TENANT } from '../../unit/rules/budget-messages.js';
import { BudgetsUnderTest, shown, WINDOW_MS } from './budgets-under-test.js';

const HELD_MS = 4 * WINDOW_MS;
const RESET = budgetResetTimer(TENANT);
/** Of the open window. */
const END = NOON + 2 * WINDOW_MS;

function holdTimer({ ids: [id] }: Admission): string {
  return admissionDocument(TENANT, admissionKey(id!));
}

describe('reconciler of budgets: what nothing will end', () => {
  let weir: BudgetsUnderTest;
  /** Of the first window, which is past because of it. */
  let held: Admission;
  /** Of the second window, which is open. */
  let fresh: Admission;

  beforeEach(async () => {
    weir = await BudgetsUnderTest.start();
    const { folded } = weir;
    putBudgets(folded, NOON, budgets());
    held = granted(folded, NOON, { holdMs: HELD_MS });
    fresh = granted(folded, NOON + WINDOW_MS);
    await weir.commit();
  });

  afterEach(() => weir.close());

  it('a hold whose timer is gone', async () => {
    await weir.removeTimer(holdTimer(held));
    const { drifted, drift } = await weir.full();
    const end = NOON + HELD_MS;
    expect(shown(drift)).to.deep.equal([`${TENANT} +0 ${held.ids[0]} redis stuck hold: ${end}/0`]);
    expect(drifted).to.equal(1);
    expect(weir.differences).to.deep.equal(drift);
  });

  it('a hold whose timer comes too late', async () => {
    await weir.moveTimer(holdTimer(fresh), fresh.expiresAt! + 1);
    const { drift } = await weir.full();
    const values = `${fresh.expiresAt}/${fresh.expiresAt! + 1}`;
    expect(shown(drift)).to.deep.equal([`${TENANT} +1 ${fresh.ids[0]} redis stuck hold: ${values}`]);
  });

  it('an open window whose timer is gone, in every run until it is back', async () => {
    let { result, state } = await weir.recent();
    expect(result.drifted).to.equal(0);
    await weir.removeTimer(RESET);
    const expected = [`${TENANT} +1 redis stuck window: ${END}/0`];
    expect(shown((await weir.full()).drift)).to.deep.equal(expected);
    for (let run = 0; run < 2; run += 1) {
      ({ result, state } = await weir.recent(state));
      expect(shown(result.drift)).to.deep.equal(expected);
      expect(result.drifted).to.equal(1);
    }
    await weir.store();
    ({ result, state } = await weir.recent(state));
    expect(result.drifted).to.equal(0);
  });

  it('an open window whose timer comes too late', async () => {
    await weir.moveTimer(RESET, END + 1);
    expect(shown((await weir.full()).drift)).to.deep.equal([
      `${TENANT} +1 redis stuck window: ${END}/${END + 1}`,
    ]);
  });

  it('although the sink is behind', async () => {
    granted(weir.folded, NOON + WINDOW_MS + 1);
    await weir.store();
    await weir.removeTimer(RESET);
    const { behind, drift } = await weir.full();
    expect(behind).to.be.greaterThan(0);
    expect(shown(drift)).to.deep.equal([`${TENANT} +1 redis stuck window: ${END}/0`]);
  });

  it('although the ledger of its time is no longer kept', async () => {
    await weir.postgres.query(
      `INSERT INTO sink_positions (sink, stream, outbox_id, stream_position) VALUES ('retention', 'admissions', '0-0', $1)`,
      [`${NOON + HELD_MS}-0`],
    );
    await weir.removeTimer(RESET);
    const { outside, drift } = await weir.full();
    expect(outside).to.be.greaterThan(0);
    expect(shown(drift)).to.deep.equal([`${TENANT} +1 redis stuck window: ${END}/0`]);
  });

  it('and not what is only late', async () => {
    await weir.moveTimer(RESET, NOON - HELD_MS);
    await weir.moveTimer(holdTimer(held), NOON - HELD_MS);
    expect((await weir.full()).drifted).to.equal(0);
  });

  it('and not what a change of the budgets has moved', async () => {
    const ends = new Map([
      [1000, NOON + WINDOW_MS + 1000],
      [3_600_000, NOON + 3_600_000],
    ]);
    for (const [windowMs, end] of ends) {
      putBudgets(weir.folded, NOON + WINDOW_MS + 10, budgets({ windowMs }));
      expect(weir.folded.timers.get(RESET)).to.equal(end);
      await weir.commit();
      expect((await weir.full()).drifted).to.equal(0);
    }
  });

  it('until the length of its windows is changed', async () => {
    weir.folded.timers.delete(RESET);
    await weir.store();
    expect((await weir.full()).drifted).to.equal(1);
    putBudgets(weir.folded, NOON + WINDOW_MS + 10, budgets({ windowMs: 1000 }));
    await weir.commit();
    expect((await weir.full()).drifted).to.equal(0);
  });

  it('and says when it should have ended', async () => {
    await weir.removeTimer(RESET);
    await weir.moveTimer(holdTimer(held), NOON + HELD_MS + 60_000);
    const text = budgetsAsText({ at: '', ...(await weir.full()) }, 1);
    expect(text).to.include(
      `${TENANT} 2026-11-20T12:00:30.000Z: the window is to end at 2026-11-20T12:01:00.000Z and has no timer`,
    );
    expect(text).to.include(
      `${held.ids[0]}: the hold is to end at 2026-11-20T12:02:00.000Z and has a timer for 2026-11-20T12:03:00.000Z only`,
    );
  });
});
