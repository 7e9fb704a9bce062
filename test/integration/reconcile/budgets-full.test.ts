import { expect } from 'chai';
import { admissionDocument, budgetDocument, budgetWindowDocument } from '../../../shared/keys.js';
import { admissionKey } from '../../../shared/messages/admissions.js';
import { decodeBudget } from '../../../shared/state/budget-codec.js';
import type { Admission } from '../../../shared/state/budget-state.js';
import { evaluate, failOpen, granted, NOON, putBudgets, settle } from '../../unit/rules/budget-asking.js';
import { budgetMessage, budgets, request, TENANT } from '../../unit/rules/budget-messages.js';
import { SETTINGS } from '../../unit/rules/budget-partition.js';
import { BudgetsUnderTest, shown, WINDOW_MS } from './budgets-under-test.js';

const AGREE = { behind: 0, leftOut: 0, outside: 0, lost: 0, drifted: 0, drift: [] };
const HELD_MS = 4 * WINDOW_MS;

describe('reconciler of budgets: everything', () => {
  let weir: BudgetsUnderTest;
  /** Of the first window, held until the fifth begins. */
  let held: Admission;
  /** Of the open window, the third. */
  let fresh: Admission;

  /** Window 0 is past and holds 100; window 1 has ended: 30 are settled; window 2 is open and holds 200. */
  beforeEach(async () => {
    weir = await BudgetsUnderTest.start();
    const { folded } = weir;
    putBudgets(folded, NOON, budgets());
    held = granted(folded, NOON, { holdMs: HELD_MS });
    settle(folded, NOON + 10, granted(folded, NOON), 40);
    settle(folded, NOON + WINDOW_MS + 1, granted(folded, NOON + WINDOW_MS), 30);
    fresh = granted(folded, NOON + 2 * WINDOW_MS, { estimated: 200, pipeline: 'ranking' });
    await weir.commit();
  });

  afterEach(() => weir.close());

  const expectDrift = async (...expected: string[]): Promise<void> => {
    const { drifted, drift, behind } = await weir.full();
    expect(shown(drift)).to.deep.equal(expected.sort());
    expect(weir.differences).to.deep.equal(drift);
    expect(drifted).to.be.greaterThan(0);
    expect(behind).to.equal(0);
  };

  it('agrees on windows that are open, past and ended, and on holds', async () => {
    expect(await weir.full()).to.deep.equal({ ...AGREE, comparedWindows: 3, comparedHolds: 2 });
  });

  it('agrees on everything that can happen to an admission', async () => {
    const charging = await BudgetsUnderTest.start({ ...SETTINGS, holdExpiry: 'charge' });
    try {
      const { folded } = charging;
      const overrun = granted(folded, NOON);
      const late = granted(folded, NOON);
      const never = granted(folded, NOON);
      settle(folded, NOON + 1, overrun, 1000);
      evaluate(folded, NOON + 2, { estimated: 7 });
      failOpen(folded, NOON + 3, { estimated: 11 });
      failOpen(folded, NOON + 3, { estimated: 13, settled: true, pipeline: 'nobody' });
      folded.idle(NOON + 2 * WINDOW_MS);
      settle(folded, NOON + 2 * WINDOW_MS + 1, late, 60);
      folded.ask(NOON + 2 * WINDOW_MS + 2, budgetMessage('cancel', { admission: never.ids[0]! }));
      const other = request({ estimated: 5 });
      folded.ask(NOON + 3 * WINDOW_MS, budgetMessage('admit', other, 'globex'));
      await charging.commit();
      // acme's first window, which is past because of what expired; globex's, which is open.
      expect(await charging.full()).to.deep.equal({ ...AGREE, comparedWindows: 2, comparedHolds: 1 });
      const kinds = new Set(folded.ledger().map(({ kind }) => kind));
      const all = ['cancel', 'expire', 'fail_open', 'grant', 'late_settle', 'overrun', 'reset', 'settle'];
      expect([...kinds].sort()).to.deep.equal(all);
    } finally {
      await charging.close();
    }
  });

  it('finds what was settled, changed in Redis', async () => {
    await weir.tamper(budgetWindowDocument(TENANT, NOON), '["monitoring",40,', '["monitoring",41,');
    await expectDrift(`${TENANT} +0 monitoring redis settled: 40/41`);
  });

  it('finds what is held, changed in Redis', async () => {
    await weir.tamper(budgetDocument(TENANT), '["ranking",0,200,', '["ranking",0,150,');
    await expectDrift(`${TENANT} +2 ranking redis held: 200/150`);
  });

  it('finds a level that is missing in Redis', async () => {
    await weir.tamper(budgetDocument(TENANT), '["ranking",0,200,', '["nobody",0,200,');
    await expectDrift(`${TENANT} +2 nobody redis held: 0/200`, `${TENANT} +2 ranking redis held: 200/0`);
  });

  it('finds documents that cannot be read', async () => {
    await weir.redis.set(weir.documentKey(budgetWindowDocument(TENANT, NOON)), '{"v":1');
    await weir.redis.set(weir.documentKey(admissionDocument(TENANT, 'x')), '{"v":1');
    await expectDrift(`${TENANT} +0 redis document: 0/0`, `${TENANT} x redis document: 0/0`);
  });

  it('finds a state that cannot be read', async () => {
    await weir.redis.set(weir.documentKey(budgetDocument('globex')), '{"v":1,"epoch":"x"}');
    await weir.redis.set(weir.documentKey(budgetDocument('initech')), 'x');
    await expectDrift('globex redis document: 0/0', 'initech redis document: 0/0');
  });

  it('finds an ended window that was past, of a tenant that has no state', async () => {
    const past = (await weir.redis.get(weir.documentKey(budgetWindowDocument(TENANT, NOON))))!;
    await weir.redis.set(weir.documentKey(budgetWindowDocument('globex', NOON)), past);
    await expectDrift('globex +0 redis document: 0/0');
  });

  it('finds a past window that is gone although it holds something', async () => {
    await weir.redis.del(weir.documentKey(budgetWindowDocument(TENANT, NOON)));
    await expectDrift(`${TENANT} +0 postgres row: 4/0`);
  });

  it('finds a held admission that is gone', async () => {
    const [id] = fresh.ids;
    await weir.redis.del(weir.documentKey(admissionDocument(TENANT, admissionKey(id!))));
    await expectDrift(`${TENANT} +2 ${id} redis held: 200/0`);
  });

  it('finds a held admission that holds more, and one that nobody granted', async () => {
    const [id] = held.ids;
    const name = admissionDocument(TENANT, admissionKey(id!));
    const text = (await weir.redis.get(weir.documentKey(name)))!;
    const other = `${'y'.repeat(16)}a0000000`;
    const copy = weir.documentKey(admissionDocument(TENANT, admissionKey(other)));
    await weir.redis.set(copy, text.replace(id!, other));
    await weir.redis.zadd(weir.timersKey, fresh.expiresAt!, admissionDocument(TENANT, admissionKey(other)));
    await weir.tamper(name, ',100,100,', ',100,90,');
    await expectDrift(`${TENANT} +0 ${id} redis held: 100/90`, `${TENANT} +0 ${other} redis held: 0/100`);
  });

  it('finds an entry of the ledger that was changed', async () => {
    await weir.postgres.query(
      `UPDATE budget_ledger SET held = held + 1 WHERE kind = 'grant' AND path[2] = 'ranking'`,
    );
    await expectDrift(
      `${TENANT} +2 ${fresh.ids[0]} redis held: 201/200`,
      `${TENANT} +2 global redis held: 201/200`,
      `${TENANT} +2 ranking redis held: 201/200`,
    );
  });

  it('finds an entry of the ledger that was deleted', async () => {
    await weir.postgres.query(`DELETE FROM budget_ledger WHERE kind = 'settle' AND settled = 30`);
    await expectDrift(
      `${TENANT} +1 global postgres held: 100/0`,
      `${TENANT} +1 global postgres settled: 0/30`,
      `${TENANT} +1 monitoring postgres held: 100/0`,
      `${TENANT} +1 monitoring postgres settled: 0/30`,
      `${TENANT} +1 postgres entries: 2/3`,
      `${TENANT} ledger seq: 6/7`,
    );
  });

  it('finds the last entry of the ledger deleted', async () => {
    await weir.postgres.query(`DELETE FROM budget_ledger WHERE seq = (SELECT max(seq) FROM budget_ledger)`);
    await expectDrift(
      `${TENANT} +2 ${fresh.ids[0]} redis held: 0/200`,
      `${TENANT} +2 global redis held: 0/200`,
      `${TENANT} +2 ranking redis held: 0/200`,
      `${TENANT} +2 redis entries: 0/1`,
    );
  });

  it('finds an entry of the ledger that is there twice', async () => {
    await weir.postgres.query(
      `INSERT INTO budget_ledger SELECT (l).* FROM (
         SELECT jsonb_populate_record(l, '{"at":"2026-11-20T12:00:00.500Z"}') AS l FROM budget_ledger l WHERE seq = 1
       ) AS again`,
    );
    await expectDrift(
      `${TENANT} +0 ${held.ids[0]} redis held: 200/100`,
      `${TENANT} +0 global redis held: 200/100`,
      `${TENANT} +0 monitoring redis held: 200/100`,
      `${TENANT} +0 redis entries: 5/4`,
      `${TENANT} ledger seq: 2/1`,
    );
  });

  it('finds the first entry of the ledger deleted', async () => {
    await weir.postgres.query('DELETE FROM budget_ledger WHERE seq = 1');
    const { drift } = await weir.full();
    expect(shown(drift)).to.include(`${TENANT} ledger seq: 1/2`);
  });

  it('finds an ended window that was changed', async () => {
    await weir.postgres.query(`UPDATE budget_windows SET settled = 31 WHERE level = 'monitoring'`);
    await expectDrift(`${TENANT} +1 monitoring postgres settled: 30/31`);
  });

  it('finds an ended window that is missing', async () => {
    await weir.postgres.query('DELETE FROM budget_windows');
    await expectDrift(`${TENANT} +1 postgres row: 3/0`);
  });

  it('finds an ended window of which only an old revision came', async () => {
    weir.folded.idle(NOON + HELD_MS);
    await weir.commit();
    expect(await weir.full()).to.deep.include({ drifted: 0, comparedWindows: 3 });
    await weir.postgres.query(`UPDATE budget_windows SET entries = entries - 1 WHERE window_start = $1`, [
      new Date(NOON),
    ]);
    // The entry that is not counted gave 100 back.
    await expectDrift(
      `${TENANT} +0 global postgres held: 100/0`,
      `${TENANT} +0 monitoring postgres held: 100/0`,
      `${TENANT} +0 postgres revision: 5/4`,
    );
  });

  it('says that Redis is ahead, and calls it no drift', async () => {
    settle(weir.folded, NOON + 2 * WINDOW_MS + 10, fresh, 150);
    await weir.store();
    // The window that has ended is compared all the same. Two windows, one hold, and one that only the ledger has.
    expect(await weir.full()).to.deep.equal({ ...AGREE, comparedWindows: 1, comparedHolds: 0, behind: 4 });
    await weir.archive();
    expect(await weir.full()).to.deep.equal({ ...AGREE, comparedWindows: 3, comparedHolds: 1 });
  });

  it('says that an ended window is behind, and calls it no drift', async () => {
    weir.folded.idle(NOON + HELD_MS);
    await weir.store();
    await weir.archive(weir.unarchived - 1);
    const { behind, drifted } = await weir.full();
    expect({ behind, drifted }).to.deep.equal({ behind: 1, drifted: 0 });
    await weir.archive();
    expect(await weir.full()).to.deep.equal({ ...AGREE, comparedWindows: 3, comparedHolds: 0 });
  });

  it('agrees when Postgres goes on after the documents were read', async () => {
    settle(weir.folded, NOON + 2 * WINDOW_MS + 10, fresh, 150);
    await weir.archive();
    expect(await weir.full()).to.deep.equal({ ...AGREE, comparedWindows: 3, comparedHolds: 2 });
    weir.folded.idle(NOON + HELD_MS);
    granted(weir.folded, NOON + HELD_MS);
    await weir.archive();
    // The window that has begun and the two that have ended meanwhile are not held against older documents.
    expect(await weir.full()).to.deep.equal({ ...AGREE, comparedWindows: 3, comparedHolds: 2 });
    await weir.store();
    expect(await weir.full()).to.deep.equal({ ...AGREE, comparedWindows: 4, comparedHolds: 1 });
  });

  it('waits for a newer version to compare what it wrote', async () => {
    await weir.tamper(budgetDocument(TENANT), '"v":1', '"v":2');
    const { behind, drifted } = await weir.full();
    expect({ behind, drifted }).to.deep.equal({ behind: 6, drifted: 0 });
  });

  it('leaves alone what is older than the ledger that is kept', async () => {
    await weir.postgres.query(
      `INSERT INTO sink_positions (sink, stream, outbox_id, stream_position) VALUES ('retention', 'admissions', '0-0', $1)`,
      [`${NOON + 2 * WINDOW_MS}-0`],
    );
    await weir.postgres.query('DELETE FROM budget_ledger WHERE at < $1', [new Date(NOON + 2 * WINDOW_MS)]);
    expect(await weir.full()).to.deep.equal({ ...AGREE, comparedWindows: 1, comparedHolds: 1, outside: 3 });
  });

  it('leaves alone what began before a time', async () => {
    const sinceMs = NOON + WINDOW_MS;
    await weir.postgres.query('DELETE FROM budget_ledger WHERE window_start < $1', [new Date(sinceMs)]);
    const { comparedWindows, comparedHolds } = await weir.full({ sinceMs });
    expect({ comparedWindows, comparedHolds }).to.deep.equal({ comparedWindows: 2, comparedHolds: 1 });
  });

  it('says which windows Redis has lost', async () => {
    const { epoch } = decodeBudget((await weir.redis.get(weir.documentKey(budgetDocument(TENANT))))!);
    expect(epoch).to.equal(NOON);
    const keys = await weir.redis.keys(`${weir.keys.namespace}:*`);
    await weir.redis.del(keys);
    expect(await weir.full()).to.deep.equal({ ...AGREE, comparedWindows: 1, comparedHolds: 0, lost: 2 });
  });
});
