import { expect } from 'chai';
import { budgetDefects } from '../../../shared/budgets/budget-defects.js';
import { budgetConfigOf, budgetsDocument } from '../../../shared/budgets/budgets-document.js';
import { createLogger } from '../../../shared/logging.js';
import {
  type BudgetVersion,
  findBudgetVersions,
  type VersionPlace,
} from '../../../shared/postgres/repositories/budget-versions-repository.js';
import { seed } from '../../../shared/postgres/seed.js';
import { withTenant } from '../../../shared/postgres/tenant-context.js';
import { DEFAULT_BUDGETS } from '../../../shared/state/budget-config.js';
import { TenancyFixture } from '../../support/tenancy-fixture.js';

describe('versions of budgets', () => {
  let fixture: TenancyFixture;
  before(async () => {
    fixture = await TenancyFixture.start([]);
    await fixture.sink.query(`INSERT INTO tenants (id, name) VALUES ('acme', 'Acme'), ('globex', 'Globex')`);
    // Two of the same moment.
    await fixture.sink.query(
      `INSERT INTO budget_versions (tenant_id, applied_at, version, document, actor, reason)
       SELECT tenant, to_timestamp(1000 + n / 2), n, jsonb_build_object('window_seconds', n), 'me', tenant || n
       FROM generate_series(1, 5) AS n, (VALUES ('acme'), ('globex')) AS tenants (tenant)`,
    );
  });
  after(() => fixture.close());

  function find(tenant: string, limit: number, before?: VersionPlace): Promise<readonly BudgetVersion[]> {
    return withTenant(tenant, () =>
      fixture.database.transaction((trx) => findBudgetVersions(trx, limit, before)),
    );
  }

  it('come newest first, each of its own tenant', async () => {
    const found = await find('acme', 10);
    expect(found.map(({ version }) => version)).to.deep.equal([5, 4, 3, 2, 1]);
    expect(found[0]).to.deep.equal({
      ...{ version: 5, appliedAt: 1_002_000, document: { window_seconds: 5 }, actor: 'me', reason: 'acme5' },
    });
    for (const { reason } of await find('globex', 10)) expect(reason).to.match(/^globex/);
    expect(await find('nobody', 10)).to.deep.equal([]);
  });

  it('go on where a page ended, also between two of the same moment', async () => {
    const pages: number[][] = [];
    let before: VersionPlace | undefined;
    for (;;) {
      const page = await find('acme', 2, before);
      if (page.length === 0) break;
      pages.push(page.map(({ version }) => version));
      before = page.at(-1);
    }
    expect(pages).to.deep.equal([[5, 4], [3, 2], [1]]);
  });

  it('are read by the primary key, backwards, up to the limit', async () => {
    await fixture.owner.query('SET enable_seqscan = off; SET enable_bitmapscan = off');
    const { rows } = await fixture.owner.query(
      `EXPLAIN SELECT * FROM budget_versions WHERE tenant_id = 'acme' AND (applied_at, version) < (now(), 3)
       ORDER BY applied_at DESC, version DESC LIMIT 2`,
    );
    const text = JSON.stringify(rows);
    expect(text).to.include('Index Scan Backward using budget_versions_pkey').and.not.to.include('Sort');
  });

  it('of tenant default begin with the defaults, older than any other', async () => {
    const [seeded, ...others] = await find('default', 10);
    expect(others).to.deep.equal([]);
    expect(seeded).to.deep.include({ version: 1, appliedAt: 0, actor: 'weir', reason: 'defaults' });
    expect(seeded!.document).to.deep.equal(budgetsDocument(DEFAULT_BUDGETS));
    expect(budgetConfigOf(seeded!.document)).to.deep.equal(DEFAULT_BUDGETS);
  });

  it('that `npm run seed` makes are right', async () => {
    await fixture.owner.query(`DELETE FROM budget_versions WHERE tenant_id = 'acme'`);
    await seed(fixture.ownerUrl, createLogger('test', 'silent'));
    const [seeded] = await find('acme', 1);
    expect(seeded!.reason).to.equal('data to develop with');
    expect(budgetDefects(seeded!.document)).to.deep.equal([]);
    expect(budgetsDocument(budgetConfigOf(seeded!.document))).to.deep.equal(seeded!.document);
  });
});
