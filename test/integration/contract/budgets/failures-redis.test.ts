import { expect } from 'chai';
import { Keys } from '../../../../shared/keys.js';
import { expectNoDrift } from '../../../chaos/run-reconcile.js';
import { RedisServer, until } from '../../../support/redis-server.js';
import { BudgetCaller } from './budget-caller.js';
import {
  BudgetsUnderFault,
  CLOSED_WITHOUT_STORE,
  DECIDED,
  LOOK,
  OPEN_WITHOUT_STORE,
  type Seen,
} from './failures.js';

describe('contract: budgets while Redis is gone', () => {
  let server: RedisServer;
  let budgets: BudgetsUnderFault;
  beforeEach(async () => {
    server = await RedisServer.start();
    budgets = await BudgetsUnderFault.start({ redisUrl: server.url, postgres: true });
    await budgets.weir.worker();
  });
  afterEach(async () => {
    await budgets.close();
    await server.stop();
  });

  it('Redis is killed and comes back with its AOF: what callers see, and what is true afterwards', async function () {
    this.timeout(30_000);
    const { weir, open } = budgets;
    await budgets.begin();
    const holds = await budgets.holds();
    const before = { held: 4 * LOOK.hold, settled: 0 };
    await budgets.expectUsed(before);

    process.kill(server.pid, 'SIGKILL');
    await server.down();
    await until(5000, 'the APIs have noticed', async () => {
      const answers = await Promise.all(
        [budgets.open, budgets.closed].map((caller) => caller.cancel(holds[0]!)),
      );
      return answers.every(({ status }) => status === 503);
    });
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

  it('Redis is lost: admissions and what was used are gone, budgets come back from Postgres, the ledger begins anew', async function () {
    this.timeout(40_000);
    const { weir, open } = budgets;
    const other = new BudgetCaller(weir.http, 'other');
    await budgets.begin();
    for (const caller of [open, other])
      expect((await budgets.put(caller)).body).to.include({ status: 'applied' });
    const holds = await budgets.holds();
    const mine = { request_id: 'mine' };
    const first = await open.admit('llm', 'P1', LOOK.admit, mine);
    await budgets.expectUsed({ held: 4 * LOOK.hold + LOOK.admit, settled: 0 });
    const [old] = await budgets.ledgers();

    // Nobody heals while we look: the lock of it seems to be taken.
    const healing = new Keys(weir.namespace).lock('heal-budgets').lease;
    await weir.redis.multi().flushall().set(healing, 'somebody:1:else', 'PX', 60_000).exec();
    await until(10_000, 'somebody decides', async () => {
      const { context } = await open.evaluate('ranking', 'P1', 1);
      return context['degraded'] === undefined;
    });
    await weir.ready();
    const forgotten = '404 admission_not_found';
    const seen: Seen = {
      ...{ admit: '400 unknown_pipeline', evaluate: '400 unknown_pipeline' },
      ...{ settle: forgotten, cancel: forgotten, admission: forgotten, budget: '200' },
    };
    expect(await budgets.look(holds, 'without PUT')).to.deep.equal({ open: seen, closed: seen });
    expect((await open.budget()).levels.map(({ name }) => name))
      .to.include('ranking')
      .and.not.include('llm');
    // A change that comes now is one of the defaults, and stays.
    const stale = await budgets.put(other, { version: 1 });
    expect([stale.status, stale.body]).to.deep.include({ code: 'version_conflict', version: 0 });
    expect((await budgets.put(other, { reason: 'after the loss' })).body).to.include({ version: 1 });

    await weir.redis.del(healing);
    await until(15_000, 'the budgets are back', async () => (await versionOf(open)) === 2);
    expect(await versionOf(other)).to.equal(1);
    expect(await budgets.look(await budgets.holds())).to.deep.equal({ open: DECIDED, closed: DECIDED });
    // Who had asked before the loss is admitted once more.
    const again = await open.admit('llm', 'P1', LOOK.admit, mine);
    expect([again.status, again.body.admission_id === first.body.admission_id]).to.deep.equal([201, false]);
    await budgets.calm();
    const use = { settled: 2 * (LOOK.settle + LOOK.evaluate), held: 3 * LOOK.admit };
    expect((await open.used())['llm']).to.deep.equal([use.settled, use.held]);
    await expectNoDrift(weir.environment);
    const ledgers = await budgets.ledgers();
    expect([ledgers.length, ledgers[0]]).to.deep.equal([2, old]);
  });
});

async function versionOf(caller: BudgetCaller): Promise<number> {
  return (await caller.send<{ version: number }>('GET', '/budgets')).body.version;
}
