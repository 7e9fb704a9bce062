import { expect } from 'chai';
import { PostgresServer } from '../../../support/postgres-server.js';
import { RedisServer, until } from '../../../support/redis-server.js';
import { BudgetCaller } from './budget-caller.js';
import { BudgetsUnderFault } from './failures.js';

const EVALUATION = { pipeline: 'llm', priority: 'P1', estimated_tokens: 1 } as const;

describe('contract: budgets that Redis has lost while Postgres is gone', () => {
  let server: RedisServer;
  let postgres: PostgresServer;
  let budgets: BudgetsUnderFault;
  before(async () => {
    server = await RedisServer.start();
    postgres = await PostgresServer.start();
    budgets = await BudgetsUnderFault.start({ redisUrl: server.url, postgres });
    await budgets.weir.worker();
    await budgets.begin();
  });
  after(async () => {
    await budgets.close();
    await postgres.stop();
    await server.stop();
  });

  it('are the defaults until Postgres is back, but for what somebody has changed meanwhile', async function () {
    this.timeout(60_000);
    const { weir, open, closed } = budgets;
    const other = new BudgetCaller(weir.http, 'other');
    expect((await budgets.put(other)).body).to.include({ status: 'applied', version: 1 });
    await until(10_000, 'Postgres has both', async () => {
      const rows = await budgets.query(`SELECT FROM budget_versions WHERE tenant_id IN ('acme', 'other')`);
      return rows.length === 2;
    });

    await postgres.kill();
    await weir.redis.flushall();
    for (const caller of [closed, new BudgetCaller(closed.http, 'other')]) {
      await until(15_000, 'somebody decides by the defaults', async () => {
        const { status } = await caller.send('POST', '/v1/evaluate', EVALUATION);
        expect([400, 503]).to.include(status);
        return status === 400;
      });
    }
    const unknown = await open.admit('llm', 'P1', 1);
    expect([unknown.status, unknown.body.code]).to.deep.equal([400, 'unknown_pipeline']);
    const known = await open.admit('ranking', 'P1', 1);
    expect([known.status, known.body.decision, known.body['context']]).to.deep.equal([
      201,
      'ALLOW',
      undefined,
    ]);
    const changed = await budgets.put(other, { version: 0, levels: [{ name: 'new', limit: 5 }] });
    expect(changed.body).to.include({ status: 'applied', version: 1 });

    await postgres.restart();
    await until(15_000, 'the budgets are back', async () => {
      const { status } = await closed.send('POST', '/v1/evaluate', EVALUATION);
      return status === 200;
    });
    expect(await versionAndRoot(open)).to.deep.equal([1, 'global']);
    expect(await versionAndRoot(other)).to.deep.equal([1, 'new']);
  });
});

async function versionAndRoot(caller: BudgetCaller): Promise<[number, string | undefined]> {
  const { body } = await caller.send<{ version: number; levels: { name: string }[] }>('GET', '/budgets');
  return [body.version, body.levels[0]?.name];
}
