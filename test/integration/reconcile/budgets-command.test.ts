import { expect } from 'chai';
import { budgetDocument } from '../../../shared/keys.js';
import type { BudgetReconciliation } from '../../../shared/reconciliation/budget-reconciliation.js';
import { type Ended, runReconcile } from '../../support/run-reconcile.js';
import { admit, granted, NOON, putBudgets } from '../../unit/rules/budget-asking.js';
import { budgets, TENANT } from '../../unit/rules/budget-messages.js';
import { BudgetsUnderTest } from './budgets-under-test.js';

describe('npm run reconcile, budgets', () => {
  let weir: BudgetsUnderTest;

  beforeEach(async () => {
    weir = await BudgetsUnderTest.start();
    putBudgets(weir.folded, NOON, budgets());
    granted(weir.folded, NOON);
    await weir.commit();
    // What the installation was created with.
    await weir.redis.hset(weir.keys.meta, 'partitions', 1);
  });

  afterEach(() => weir.close());

  const reconcile = (...args: string[]): Promise<Ended> =>
    runReconcile(args, {
      ...{ DATABASE_URL: weir.postgres.url, WEIR_NAMESPACE: weir.keys.namespace, ARCHIVE_DELAY_MS: '0' },
    });

  const lines = ({ out }: Ended): string[] =>
    out
      .replaceAll(/\d+\.\d s/g, '1.0 s')
      .split('\n')
      .slice(3);

  it('says that all agree, and exits 0', async () => {
    const ended = await reconcile();
    expect(lines(ended)).to.deep.equal([
      '1 budget windows and 1 holds compared with the ledger in 1.0 s',
      'no drift of budgets',
      '',
    ]);
    expect([ended.code, ended.err]).to.deep.equal([0, '']);
  });

  it('says what disagrees, and exits 1', async () => {
    await weir.tamper(budgetDocument(TENANT), '["monitoring",0,100,', '["monitoring",5,100,');
    const ended = await reconcile();
    expect(lines(ended).slice(1)).to.deep.equal([
      'BUDGET DRIFT in 1 place(s):',
      `  ${TENANT} 2026-11-20T12:00:00.000Z monitoring settled: Redis says 5, the ledger says 0`,
      '',
    ]);
    expect(ended.code).to.equal(1);
    const { budgets: result } = JSON.parse((await reconcile('--json')).out) as {
      budgets: BudgetReconciliation;
    };
    expect(result).to.deep.include({ comparedWindows: 1, drifted: 1 });
  });

  it('waits for the sink; what does not come is behind, and no drift', async function () {
    this.timeout(60_000);
    admit(weir.folded, NOON + 1);
    await weir.store();
    const ended = await reconcile();
    expect(lines(ended)).to.deep.equal([
      '0 budget windows compared with the ledger in 1.0 s',
      '3 in Redis are ahead of Postgres: not compared this time',
      'no drift of budgets',
      '',
    ]);
    expect(ended.code).to.equal(0);
  });
});
