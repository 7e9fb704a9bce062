import { expect } from 'chai';
import { Registry } from 'prom-client';
import type { FleetTask } from '../../../consumer/maintenance/fleet-schedule.js';
import { healBudgets } from '../../../consumer/maintenance/heal-budgets.js';
import { BudgetHistory } from '../../../consumer/sinks/budget-history.js';
import { append, UNBOUNDED } from '../../../shared/append/append.js';
import { budgetsDocument } from '../../../shared/budgets/budgets-document.js';
import { budgetDocument, CONFIGURED_INDEX, type PartitionKeys } from '../../../shared/keys.js';
import { createLogger } from '../../../shared/logging.js';
import { BUDGETS_PUT, type BudgetsPut } from '../../../shared/messages/admissions.js';
import type { Message } from '../../../shared/messages/message.js';
import { decodeBudget, encodeBudget } from '../../../shared/state/budget-codec.js';
import { type BudgetConfig, DEFAULT_BUDGETS, unsoundBudgets } from '../../../shared/state/budget-config.js';
import type { BudgetState } from '../../../shared/state/budget-state.js';
import { partitionOf } from '../../../shared/topics.js';
import { EngineFixture } from '../../support/engine-fixture.js';
import { until } from '../../support/redis-server.js';
import { ArchiveUnderTest, T0 } from '../archive/archive-under-test.js';

const log = createLogger('test-heal', 'silent');
const PARTITIONS = 8;
const NEW_STATE = {
  ...{ owner: undefined, config: null, epoch: T0, entries: 0, lastEnd: 0, window: null },
  ...{ pastHolds: 0, keepUntil: T0 },
};
const SEEDED: BudgetConfig = { ...DEFAULT_BUDGETS, version: 1 };

describe('budgets that Redis does not have', () => {
  let postgres: ArchiveUnderTest;
  let engine: EngineFixture;
  let task: FleetTask;
  let registry: Registry;

  beforeEach(async () => {
    postgres = await ArchiveUnderTest.start();
    engine = new EngineFixture();
    task = newTask();
  });
  afterEach(async () => {
    await engine.close();
    await postgres.close();
  });

  function newTask(): FleetTask {
    const { redis, topic } = engine;
    registry = new Registry();
    return healBudgets({
      ...{ redis, keys: topic.keys, pool: postgres.sinkPool(), log, partitions: PARTITIONS, registry },
    });
  }

  /** `weir_broken_budgets` */
  async function broken(): Promise<number> {
    return (await registry.getMetricsAsJSON())[0]!.values[0]!.value;
  }

  async function spoil(tenant: string, version: number, document: unknown): Promise<void> {
    await postgres.query(`UPDATE budget_versions SET document = $3 WHERE tenant_id = $1 AND version = $2`, [
      ...[tenant, version, JSON.stringify(document)],
    ]);
  }

  const heal = () => task.run(new AbortController().signal);

  function keysOf(tenant: string): PartitionKeys {
    return engine.topic.keys.partition({
      topic: 'admissions',
      index: partitionOf(tenant, tenant, PARTITIONS),
    });
  }

  async function configOf(tenant: string): Promise<BudgetConfig | undefined> {
    const text = await engine.redis.get(keysOf(tenant).doc(budgetDocument(tenant)));
    return text === null ? undefined : (decodeBudget(text).config ?? undefined);
  }

  /** How often a tenant's budgets were appended to its stream. */
  async function sent(tenant: string): Promise<number> {
    const entries = await engine.redis.xrange(keysOf(tenant).stream, '-', '+');
    const messages = entries.flatMap(([, fields]) => JSON.parse(fields.at(-1)!) as Message[]);
    return messages.filter((message) => message.tenant === tenant).length;
  }

  function budgets(tenant: string, version: number, more: Partial<BudgetConfig> = {}): BudgetConfig {
    const levels = [{ ...DEFAULT_BUDGETS.levels[0]!, name: tenant, limit: version * 100, p2Hard: 900_000 }];
    return { ...DEFAULT_BUDGETS, version, appliedAt: T0 + version, windowMs: 60_000, levels, ...more };
  }

  async function keep(tenant: string, config: BudgetConfig): Promise<void> {
    const history = new BudgetHistory(postgres.sinkPool(), log);
    const body = { tenant, config, actor: 'me', reason: 'because' };
    await history.write('admissions.0', [{ id: '1-1', type: 'budgets_applied', body }]);
  }

  it('are brought there: the seed, and the newest version of every tenant', async () => {
    await engine.worker();
    for (const tenant of ['acme', 'globex']) {
      for (const version of [1, 3, 2]) await keep(tenant, budgets(tenant, version));
    }
    expect(await heal()).to.deep.equal({ restored: 3 });
    for (const tenant of ['acme', 'globex', 'default']) {
      await until(5000, `${tenant} has its own`, async () => (await configOf(tenant)) !== undefined);
    }
    expect(await configOf('default')).to.deep.equal(SEEDED);
    expect(await configOf('acme')).to.deep.equal(budgets('acme', 3));
    expect(await configOf('globex')).to.deep.equal(budgets('globex', 3));
    expect(await heal()).to.equal(undefined);
    expect(await newTask().run(new AbortController().signal)).to.equal(undefined);
  });

  it('come back when Redis has lost them, or has an older version', async () => {
    await engine.worker();
    await keep('acme', budgets('acme', 1));
    await heal();
    await until(5000, 'it is there', async () => (await configOf('acme'))?.version === 1);
    await keep('acme', budgets('acme', 2));
    expect(await heal()).to.deep.equal({ restored: 1 });
    await until(5000, 'it is newer', async () => (await configOf('acme'))?.version === 2);

    await engine.redis.flushdb();
    await until(10_000, 'it is there again', async () => {
      await heal();
      return (await configOf('acme')) !== undefined && (await configOf('default')) !== undefined;
    });
    expect(await configOf('acme')).to.deep.equal(budgets('acme', 2));
    expect(await configOf('default')).to.deep.equal(SEEDED);
  }).timeout(30_000);

  it('that a partition began again with are sent once more, and change nothing but the index', async () => {
    await keep('acme', budgets('acme', 3));
    const lost: BudgetState = { ...NEW_STATE, config: budgets('acme', 3) };
    await engine.redis.set(keysOf('acme').doc(budgetDocument('acme')), encodeBudget(lost));
    await engine.worker();
    expect(await heal()).to.deep.equal({ restored: 2 });
    const index = keysOf('acme').index(CONFIGURED_INDEX);
    await until(5000, 'it is there', async () => (await engine.redis.zscore(index, 'acme')) === `${T0 + 3}`);
    const text = await engine.redis.get(keysOf('acme').doc(budgetDocument('acme')));
    expect(decodeBudget(text!)).to.deep.equal(lost);
    await until(5000, 'nothing is missing', async () => (await heal()) === undefined);
  });

  it('are sent once while no worker looks', async () => {
    await keep('acme', budgets('acme', 1));
    expect(await heal()).to.deep.equal({ restored: 2 });
    expect(await heal()).to.equal(undefined);
    expect(await sent('acme')).to.equal(1);
    await engine.redis.flushdb();
    expect(await heal()).to.deep.equal({ restored: 2 });
    expect(await sent('acme')).to.equal(1);
  });

  it('stay as they are in Redis where those are newer', async () => {
    await engine.worker();
    const newer = budgets('acme', 9);
    await keep('acme', newer);
    await heal();
    await until(5000, 'it is there', async () => (await configOf('acme'))?.version === 9);
    await postgres.query(`DELETE FROM budget_versions WHERE tenant_id = 'acme'`);
    await keep('acme', budgets('acme', 5));
    expect(await heal()).to.equal(undefined);
    expect(await configOf('acme')).to.deep.equal(newer);
  });

  it('are the newest that can be used, where somebody has broken others', async () => {
    await engine.worker();
    for (const version of [1, 2, 3, 4]) await keep('acme', budgets('acme', version));
    await keep('globex', budgets('globex', 1));
    expect(await broken()).to.equal(0);
    const wrong = { ...budgetsDocument(DEFAULT_BUDGETS), degraded_debit: 2 };
    for (const [version, document] of [[], wrong].entries()) await spoil('acme', version + 3, document);
    expect(await heal()).to.deep.equal({ restored: 3 });
    for (const tenant of ['acme', 'globex']) {
      await until(5000, `${tenant} has its own`, async () => (await configOf(tenant)) !== undefined);
    }
    expect(await configOf('acme')).to.deep.equal(budgets('acme', 2));
    await until(5000, 'it is folded', async () => (await heal()) === undefined);
    expect([await heal(), await sent('acme'), await broken()]).to.deep.equal([undefined, 1, 1]);
    await keep('acme', budgets('acme', 5));
    expect([await heal(), await broken()]).to.deep.equal([{ restored: 1 }, 0]);
    await until(5000, 'it is newer', async () => (await configOf('acme'))?.version === 5);
  });

  it('are nothing where none of them can be used, and never the defaults', async () => {
    await engine.worker();
    for (const version of [1, 2]) {
      await keep('acme', budgets('acme', version));
      await spoil('acme', version, {});
    }
    expect(await heal()).to.deep.equal({ restored: 2 });
    await until(5000, 'acme has nothing', async () => (await configOf('acme')) !== undefined);
    expect(await configOf('acme')).to.deep.equal(unsoundBudgets(2));
    await until(5000, 'it is folded', async () => (await heal()) === undefined);
    expect([await heal(), await sent('acme'), await broken()]).to.deep.equal([undefined, 1, 1]);
    await spoil('acme', 2, budgetsDocument(budgets('acme', 2)));
    expect([await heal(), await broken()]).to.deep.equal([{ restored: 1 }, 0]);
    await until(5000, 'it has its own', async () => (await configOf('acme'))?.unsound === undefined);
    expect(await configOf('acme')).to.deep.equal(budgets('acme', 2));
  });

  it('that are broken while Redis has them are found by who looks at all of them, and stay as they are', async () => {
    await engine.worker();
    await keep('acme', budgets('acme', 3));
    await heal();
    await until(5000, 'it is there', async () => (await configOf('acme'))?.version === 3);
    await until(5000, 'it is folded', async () => (await heal()) === undefined);
    await spoil('acme', 3, null);
    task = newTask();
    expect([await heal(), await broken(), await heal(), await broken()]).to.deep.equal([
      ...[undefined, 0],
      ...[undefined, 1],
    ]);
    expect(await configOf('acme')).to.deep.equal(budgets('acme', 3));
  });

  it('whose time is none keep nobody from having theirs', async () => {
    await engine.worker();
    await keep('globex', budgets('globex', 1));
    await keep('acme', budgets('acme', 1));
    await postgres.query(`UPDATE budget_versions SET applied_at = 'infinity' WHERE tenant_id = 'acme'`);
    expect(await heal()).to.deep.equal({ restored: 3 });
    await until(5000, 'globex has its own', async () => (await configOf('globex'))?.version === 1);
    await until(5000, 'acme has nothing', async () => (await configOf('acme'))?.unsound === true);
    expect(await broken()).to.equal(1);
  });

  it('are read page by page, of however many tenants', async () => {
    await postgres.query(
      `INSERT INTO tenants (id, name) SELECT 't' || n, 't' FROM generate_series(1, 1500) AS n`,
    );
    await postgres.query(
      `INSERT INTO budget_versions (tenant_id, applied_at, version, document, actor, reason)
       SELECT id, to_timestamp(version), version, d.document, 'me', 'because'
       FROM tenants, generate_series(1, 2) AS version,
         (SELECT document FROM budget_versions WHERE tenant_id = 'default') AS d
       WHERE id LIKE 't%'`,
    );
    await engine.worker();
    let restored = 0;
    await until(30_000, 'nothing is missing', async () => {
      const done = (await heal())?.['restored'];
      restored += Number(done ?? 0);
      return done === undefined && restored >= 1501;
    });
    expect(restored).to.equal(1501);
    expect(await configOf('t1500')).to.deep.equal({ ...DEFAULT_BUDGETS, version: 2, appliedAt: 2000 });
  }).timeout(60_000);

  it('are brought there by a worker that has a database, which keeps their changes', async () => {
    await engine.worker({ DATABASE_URL: postgres.url });
    await until(15_000, 'the seed is there', async () => (await configOf('default')) !== undefined);
    expect(await configOf('default')).to.deep.equal(SEEDED);
    const data: BudgetsPut = { config: budgets('default', 0), actor: 'me', reason: 'because' };
    const message: Message = { type: BUDGETS_PUT, tenant: 'default', subject: 'default', id: 'put', data };
    await append(engine.redis, keysOf('default'), [[JSON.stringify(message)]], UNBOUNDED);
    await until(15_000, 'it is kept', async () => (await stored()).length === 2);
    const { appliedAt, ...config } = (await configOf('default'))!;
    expect(await stored()).to.deep.equal([
      { version: 2, at: appliedAt, actor: 'me', document: budgetsDocument({ ...config, appliedAt }) },
      { version: 1, at: 0, actor: 'weir', document: budgetsDocument(DEFAULT_BUDGETS) },
    ]);
    expect(config.version).to.equal(2);
  }).timeout(30_000);

  function stored(): Promise<object[]> {
    return postgres.query(
      `SELECT version, (extract(epoch FROM applied_at) * 1000)::bigint AS at, actor, document
       FROM budget_versions WHERE tenant_id = 'default' ORDER BY applied_at DESC`,
    );
  }
});
