import { expect } from 'chai';
import { RedisServer, until } from '../../../support/redis-server.js';
import { expectNoDrift } from '../../../support/run-reconcile.js';
import { BudgetsUnderFault, CLOSED_WITHOUT_STORE, LOOK, OPEN_WITHOUT_STORE } from './failures.js';

describe('contract: budgets while Redis is gone', () => {
  let server: RedisServer;
  let budgets: BudgetsUnderFault;
  beforeEach(async () => {
    server = await RedisServer.start();
  });
  afterEach(async () => {
    await budgets.close();
    await server.stop();
  });

  async function start(settings: Readonly<Record<string, string>> = {}): Promise<void> {
    budgets = await BudgetsUnderFault.start({ redisUrl: server.url, postgres: true, settings });
    await budgets.weir.worker();
    await budgets.begin();
  }

  /** Resolves when both APIs have noticed. */
  async function kill(): Promise<void> {
    process.kill(server.pid, 'SIGKILL');
    await server.down();
    await until(5000, 'the APIs have noticed', async () => {
      const answers = await Promise.all(
        [budgets.open, budgets.closed].map(({ http }) => http.get<{ checks: { redis: string } }>('/ready')),
      );
      return answers.every(({ body }) => body.checks.redis === 'down');
    });
  }

  it('Redis is killed and comes back with its AOF: what callers see, and what is true afterwards', async function () {
    this.timeout(60_000);
    await start();
    const { weir, open } = budgets;
    const holds = await budgets.holds();
    const before = { held: 4 * LOOK.hold, settled: 0 };
    await budgets.expectUsed(before);

    await kill();
    expect(await budgets.look(holds)).to.deep.equal({
      open: OPEN_WITHOUT_STORE,
      closed: CLOSED_WITHOUT_STORE,
    });
    const given = await open.admit('llm', 'P1', 50);
    expect(given.status).to.equal(201);
    const soon = await open.settle(given.body.admission_id, 20);
    expect([soon.status, soon.body.code]).to.deep.equal([503, 'store_unavailable']);

    await server.up();
    await weir.ready();
    // What was given away is charged, once; what was refused left nothing behind.
    const after = { held: before.held + LOOK.admit + 50, settled: LOOK.evaluate };
    await budgets.expectUsed(after);
    expect(await budgets.kinds()).to.deep.equal({ grant: 4, fail_open: 3 });
    const settled = await open.settle(given.body.admission_id, 20);
    expect([settled.status, settled.body.status, settled.body['charged_tokens']]).to.deep.equal([
      ...[200, 'settled', 20],
    ]);
    await budgets.expectUsed({ held: after.held - 50, settled: after.settled + 20 });
    await expectNoDrift(weir.environment);
  });

  it('what was given away meanwhile is charged to the window in which Redis is back', async function () {
    this.timeout(60_000);
    await start({ BUDGET_WINDOW_SECONDS: '1', FAIL_OPEN_TOKENS_MAX: '100' });
    const { weir, open } = budgets;
    await kill();
    const ids: string[] = [];
    let refused = 0;
    // An allowance for each window of the process' own clock.
    await until(10_000, 'three windows have given', async () => {
      const { status, body } = await open.admit('llm', 'P1', 100, { hold_seconds: 600 });
      if (status === 201) ids.push(body.admission_id);
      else refused += 1;
      return ids.length === 3;
    });
    expect(refused).to.be.above(0);
    const backMs = Date.now();
    await server.up();
    await weir.ready();
    await budgets.expectLedger({ held: 300, settled: 0 });
    const windows = await budgets.query<{ start: number }>(
      `SELECT DISTINCT (extract(epoch FROM window_start) * 1000)::float8 AS start FROM budget_ledger
       WHERE tenant_id = 'acme' AND kind = 'fail_open'`,
    );
    for (const { start } of windows) expect(start).to.be.at.least(backMs - 1000);
    expect((await open.admission(ids[0]!)).body).to.include({ status: 'held', granted_tokens: 100 });
    await expectNoDrift(weir.environment);
  });
});
