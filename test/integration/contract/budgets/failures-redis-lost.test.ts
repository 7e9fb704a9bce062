import { stat, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'chai';
import { Keys } from '../../../../shared/keys.js';
import { RedisServer, until } from '../../../support/redis-server.js';
import { expectNoDrift } from '../../../support/run-reconcile.js';
import type { TestWorker } from '../../../support/workers.js';
import { BudgetCaller } from './budget-caller.js';
import { BudgetsUnderFault, DECIDED, LOOK } from './failures.js';

const EVALUATION = { pipeline: 'llm', priority: 'P1', estimated_tokens: 1 } as const;

describe('contract: budgets that Redis has lost', () => {
  let server: RedisServer;
  let budgets: BudgetsUnderFault;
  beforeEach(async () => {
    server = await RedisServer.start();
  });
  afterEach(async () => {
    await budgets.close();
    await server.stop();
  });

  let worker: TestWorker;

  async function start(settings: Readonly<Record<string, string>> = {}): Promise<void> {
    budgets = await BudgetsUnderFault.start({ redisUrl: server.url, postgres: true, settings });
    worker = await budgets.weir.worker();
    await budgets.begin();
  }

  it('Redis is lost: admissions and what was used are gone, budgets come back from Postgres, the ledger begins anew', async function () {
    this.timeout(60_000);
    await start();
    const { weir, open } = budgets;
    const other = new BudgetCaller(weir.http, 'other');
    for (const caller of [open, other])
      expect((await budgets.put(caller)).body).to.include({ status: 'applied' });
    const holds = await budgets.holds();
    const mine = { request_id: 'mine' };
    const first = await open.admit('llm', 'P1', LOOK.admit, mine);
    await budgets.expectUsed({ held: 4 * LOOK.hold + LOOK.admit, settled: 0 });
    const [old] = await budgets.ledgers();

    await until(10_000, 'Postgres has all versions', async () => {
      const versions = await Promise.all([open, other].map((caller) => storedVersions(caller)));
      return versions.join() === '2,1';
    });
    // Nobody heals while we look (the lock of it seems to be taken): a partition begins with what Postgres has.
    const healing = new Keys(weir.namespace).lock('heal-budgets').lease;
    await weir.redis.multi().flushall().set(healing, 'somebody:1:else', 'PX', 60_000).exec();
    await until(10_000, 'somebody decides', async () => {
      const { status } = await budgets.closed.send('POST', '/v1/evaluate', EVALUATION);
      // Undecided, and never decided by the defaults, which have no such pipeline.
      expect([200, 503]).to.include(status);
      return status === 200;
    });
    await weir.ready();
    const { admit, evaluate } = DECIDED;
    const forgotten = '404 admission_not_found';
    const seen = {
      settle: forgotten,
      cancel: forgotten,
      admission: forgotten,
      budget: '200',
      admit,
      evaluate,
    };
    expect(await budgets.look(holds, 'without PUT')).to.deep.equal({ open: seen, closed: seen });
    expect([await versionOf(open), await versionOf(other)]).to.deep.equal([2, 1]);
    const stale = await budgets.put(other, { version: 2 });
    expect(stale.body).to.include({ status: 409, code: 'version_conflict', version: 1 });
    expect((await budgets.put(other, { version: 1 })).body).to.include({ version: 2 });
    expect((await budgets.put(open, { version: 2 })).body).to.include({ version: 3 });
    expect(await budgets.look(await budgets.holds())).to.deep.equal({ open: DECIDED, closed: DECIDED });
    // Who had asked before the loss is admitted once more.
    const again = await open.admit('llm', 'P1', LOOK.admit, mine);
    expect([again.status, again.body.admission_id === first.body.admission_id]).to.deep.equal([201, false]);
    await budgets.calm();
    const use = {
      settled: 2 * LOOK.settle + 4 * LOOK.evaluate + EVALUATION.estimated_tokens,
      held: 5 * LOOK.admit,
    };
    expect((await open.used())['llm']).to.deep.equal([use.settled, use.held]);
    const report = await expectNoDrift(weir.environment);
    expect(report).to.include('1 never ended, because Redis lost them: not compared');
    const ledgers = await budgets.ledgers();
    expect([ledgers.length, ledgers[0]]).to.deep.equal([2, old]);
  });

  it('Redis is lost, and nobody has begun again: what was given then is charged once somebody has', async function () {
    this.timeout(60_000);
    await start();
    const { weir, open } = budgets;
    const holds = await budgets.holds();
    await worker.close();
    await weir.redis.flushall();
    const common = { settle: '202 accepted', cancel: '202 accepted', budget: '200' };
    const seen = { ...common, admission: '404 admission_not_found' };
    expect(await budgets.look(holds, 'without PUT')).to.deep.equal({
      open: { ...seen, admit: '201 ALLOW no_worker', evaluate: '200 ALLOW no_worker' },
      closed: { ...seen, admit: '503 undecided', evaluate: '503 undecided' },
    });
    expect((await budgets.put(open)).status).to.equal(202);
    await weir.worker();
    await weir.ready();
    await budgets.calm();
    // What the open one gave; what the closed one refused and a retry may still ask for.
    const use = [LOOK.evaluate, 2 * LOOK.admit];
    expect(await open.used()).to.deep.equal({ global: use, llm: use });
    await expectNoDrift(weir.environment);
  });

  it('Redis comes back without its last writes: what was decided in them is asked again, the ledger never had it', async function () {
    this.timeout(60_000);
    await start({ ARCHIVE_DELAY_MS: '1500' });
    const { weir, open, closed } = budgets;
    const kept = await budgets.hold();
    const folder = ((await weir.redis.config('GET', 'dir')) as string[])[1]!;
    const file = join(folder, 'appendonlydir', 'appendonly.aof.1.incr.aof');
    const { size } = await stat(file);
    const mine = { request_id: 'mine' };
    const forgotten = await open.admit('llm', 'P1', LOOK.admit, mine);
    expect((await open.settle(kept, LOOK.settle)).status).to.equal(200);
    process.kill(server.pid, 'SIGKILL');
    await server.down();
    // As a machine that lost power: the end of the file is not there.
    await truncate(file, size);
    await server.up();
    await weir.ready();
    await until(10_000, 'its worker has noticed', async () => {
      const { context } = await closed.evaluate('llm', 'P1', LOOK.evaluate);
      return context['degraded'] === undefined;
    });

    const { body: hold } = await open.admission(kept);
    expect(hold.status).to.equal('held');
    const gone = await open.admission(forgotten.body.admission_id);
    expect([gone.status, gone.body.code]).to.deep.equal([404, 'admission_not_found']);
    const again = await open.admit('llm', 'P1', LOOK.admit, mine);
    expect([again.status, again.body.attempts]).to.deep.equal([201, 1]);
    expect((await open.settle(kept, LOOK.settle)).body).to.include({
      status: 'settled',
      charged_tokens: LOOK.settle,
    });
    expect(await budgets.look(await budgets.holds())).to.deep.equal({ open: DECIDED, closed: DECIDED });
    await budgets.expectUsed({ held: 3 * LOOK.admit, settled: 3 * (LOOK.settle + LOOK.evaluate) });
    await expectNoDrift(weir.environment);
  });
});

async function versionOf(caller: BudgetCaller): Promise<number> {
  return (await caller.send<{ version: number }>('GET', '/budgets')).body.version;
}

/** How many versions of its budgets Postgres has. */
async function storedVersions(caller: BudgetCaller): Promise<number> {
  const { body } = await caller.send<{ versions: unknown[] }>('GET', '/budgets/versions');
  return body.versions.length;
}
