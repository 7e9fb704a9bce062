import { expect } from 'chai';
import { ApiProcess } from '../../../support/api-process.js';
import { HttpClient } from '../../../support/http-client.js';
import { RedisServer, until } from '../../../support/redis-server.js';
import { expectNoDrift } from '../../../support/run-reconcile.js';
import type { TestWorker } from '../../../support/workers.js';
import { BudgetCaller } from './budget-caller.js';
import { BudgetsUnderFault, DECIDED, LOOK } from './failures.js';

const ALLOWANCE = 250;

describe('contract: an API is killed that owes reports of what it gave away', () => {
  let server: RedisServer;
  let budgets: BudgetsUnderFault;
  let worker: TestWorker;
  beforeEach(async () => {
    server = await RedisServer.start();
    budgets = await BudgetsUnderFault.start({ redisUrl: server.url, postgres: true });
    worker = await budgets.weir.worker();
    await budgets.begin();
  });
  afterEach(async () => {
    await budgets.close();
    await server.stop();
  });

  const start = async (): Promise<{ readonly api: ApiProcess; readonly caller: BudgetCaller }> => {
    const { weir } = budgets;
    const api = await ApiProcess.start({ ...weir.environment, FAIL_OPEN_TOKENS_MAX: String(ALLOWANCE) });
    weir.onClose(() => api.end('SIGKILL'));
    return { api, caller: new BudgetCaller(new HttpClient(api.url), 'acme') };
  };
  const isThere = async ({ http }: BudgetCaller): Promise<boolean> => {
    const { body } = await http.get<{ checks: { redis: string } }>('/ready');
    return body.checks.redis === 'ok';
  };
  /** As much as it gives; its ids. */
  const takeAll = async (caller: BudgetCaller): Promise<readonly string[]> => {
    const answers = await Promise.all([1, 2, 3].map(() => caller.admit('llm', 'P1', 100)));
    expect(answers.map(({ status, body }) => `${status} ${body.code ?? body.decision}`).sort()).to.deep.equal(
      [...['201 ALLOW', '201 ALLOW', '503 undecided']],
    );
    return answers.filter(({ status }) => status === 201).map(({ body }) => body.admission_id);
  };

  it('what it owed is never charged, and bounded by its allowance; a process that lives reports all', async function () {
    this.timeout(60_000);
    const { weir, open } = budgets;
    const hold = await budgets.hold();
    const [dying, living] = await Promise.all([start(), start()]);
    await until(
      5000,
      'both have found Redis',
      async () => (await isThere(dying.caller)) && isThere(living.caller),
    );
    process.kill(server.pid, 'SIGKILL');
    await server.down();
    await until(5000, 'both have lost Redis', async () => {
      return !(await isThere(dying.caller)) && !(await isThere(living.caller));
    });
    const lost = await takeAll(dying.caller);
    const kept = await takeAll(living.caller);
    await dying.api.end('SIGKILL');
    // Who takes its place knows nothing of it: it has an allowance of its own.
    const { caller: heir } = await start();
    const given = await takeAll(heir);

    await server.up();
    await weir.ready();
    const reported = [...kept, ...given];
    await until(10_000, 'the others have reported', async () => {
      const answers = await Promise.all(reported.map((id) => open.admission(id)));
      return answers.every(({ status }) => status === 200);
    });
    await budgets.expectUsed({ held: LOOK.hold + 100 * reported.length, settled: 0 });
    const [settled, cancelled] = lost as [string, string];
    for (const answer of [
      ...[await open.admission(settled), await open.settle(settled, 5), await heir.settle(settled, 5)],
      ...[await heir.admission(cancelled), await heir.cancel(cancelled), await open.cancel(cancelled)],
    ]) {
      expect([answer.status, answer.body.code, answer.body['reason']]).to.deep.equal([
        ...[503, 'undecided', 'unreported'],
      ]);
    }
    expect((await open.admission(hold)).status).to.equal(200);
    await budgets.expectUsed({ held: LOOK.hold + 100 * reported.length, settled: 0 });
    expect(await budgets.look(await budgets.holds())).to.deep.equal({ open: DECIDED, closed: DECIDED });
    await expectNoDrift(weir.environment);
  });

  it('where Redis is there it owes nothing: what it gave away is in the stream before it answers', async () => {
    const { weir } = budgets;
    const { api, caller } = await start();
    await until(5000, 'it has found Redis', () => isThere(caller));
    await worker.close();
    const given = await takeAll(caller);
    await api.end('SIGKILL');
    await weir.worker();
    await weir.ready();
    // The third was refused: nobody can ask for it again, but who would have said so was killed.
    await budgets.calm();
    for (const id of given) expect((await budgets.open.admission(id)).body).to.include({ status: 'held' });
    await expectNoDrift(weir.environment);
  });
});
