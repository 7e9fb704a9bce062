import { expect } from 'chai';
import { until } from '../../../support/redis-server.js';
import { expectNoDrift } from '../../../support/run-reconcile.js';
import { Fleet, WorkerProcess } from '../../../support/worker-process.js';
import { BudgetCaller } from './budget-caller.js';
import {
  BudgetsUnderFault,
  CLOSED_WITHOUT_WORKER,
  DECIDED,
  LOOK,
  OPEN_WITHOUT_WORKER,
  PARTITIONS,
} from './failures.js';

describe('contract: budgets while workers are gone', () => {
  let budgets: BudgetsUnderFault;
  beforeEach(async () => {
    budgets = await BudgetsUnderFault.start({ postgres: true });
  });
  afterEach(() => budgets.close());

  it('all workers are killed -9 and come back: what callers see, and what is true afterwards', async function () {
    this.timeout(60_000);
    const { weir, open, closed } = budgets;
    const fleet = await Fleet.start(2, weir.environment);
    weir.onClose(() => fleet.close());
    await budgets.begin();
    const holds = await budgets.holds();
    expect(await budgets.look(await budgets.holds())).to.deep.equal({ open: DECIDED, closed: DECIDED });
    // 2 looks: each holds, charges at once, settles and cancels.
    const before = { held: 4 * LOOK.hold + 2 * LOOK.admit, settled: 2 * (LOOK.evaluate + LOOK.settle) };
    await budgets.expectUsed(before);

    const hold = () => budgets.hold(60, { hold_seconds: 2 });
    const [timely, late] = await Promise.all([hold(), hold()]);
    await Promise.all(fleet.alive.map((worker) => worker.end('SIGKILL')));
    const [seen, accepted] = await Promise.all([budgets.look(holds), open.settle(timely, 20)]);
    expect(seen).to.deep.equal({ open: OPEN_WITHOUT_WORKER, closed: CLOSED_WITHOUT_WORKER });
    expect([accepted.status, accepted.body.status]).to.deep.equal([202, 'accepted']);
    const unkeyed = await closed.admit('llm', 'P1', 7);
    expect([unkeyed.status, unkeyed.body.code, unkeyed.body.retryable]).to.deep.equal([
      503,
      'undecided',
      true,
    ]);
    expect((await open.used())['llm']).to.deep.equal([before.settled, before.held + 120]);
    const { body: held } = await open.admission(late);
    await until(5000, 'its time is over', () => Date.now() > Date.parse(held.expires_at));
    expect((await open.admission(late)).body.status).to.equal('held');

    await fleet.replaceDead();
    await weir.ready();
    // In the order of time: one was settled before its time was over, the other never.
    const statusOf = async (id: string) => (await open.admission(id)).body.status;
    await until(10_000, 'the other expires', async () => (await statusOf(late)) === 'expired');
    expect(await statusOf(timely)).to.equal('settled');
    // All of it was in the stream. What got 503 and cannot be asked again (7 tokens, one evaluate) was given back.
    const after = { held: 4 * LOOK.admit, settled: 3 * LOOK.evaluate + 4 * LOOK.settle + 20 };
    await budgets.expectUsed(after);
    const retry = { request_id: budgets.requestId('closed') };
    const retried = await closed.admit('llm', 'P1', LOOK.admit, retry);
    expect([retried.status, retried.body.status, retried.body.attempts]).to.deep.equal([200, 'held', 2]);
    await budgets.expectUsed(after);
    await expectNoDrift(weir.environment);
  });

  it('one of two workers is killed: only its tenants wait, until its lease ends; nothing is decided twice', async function () {
    this.timeout(60_000);
    const { weir } = budgets;
    const start = async (): Promise<WorkerProcess> => {
      const worker = await WorkerProcess.start({
        ...weir.environment,
        LEASE_TTL_MS: '1500',
        HEARTBEAT_MS: '300',
      });
      weir.onClose(() => worker.end('SIGKILL'));
      return worker;
    };
    const ownersOf = async (): Promise<readonly string[]> => {
      const leases = await Promise.all(
        Array.from({ length: PARTITIONS }, (_, index) =>
          weir.redis.get(budgets.keysAt(index).lease).then((lease) => lease?.split(':')[0] ?? ''),
        ),
      );
      return leases;
    };
    const victim = await start();
    await weir.ready();
    const [victimId] = await ownersOf();
    await start();
    await until(10_000, 'each of them has a partition of budgets', async () => {
      const owners = await ownersOf();
      return owners.every((owner) => owner !== '') && new Set(owners).size === 2;
    });
    const victims = (await ownersOf()).indexOf(victimId!);
    expect(victims, 'its place').to.not.equal(-1);
    const [mine, other] = [victims, 1 - victims].map((index) => budgets.tenantOf(index));
    const ask = (http = weir.http, tenant = mine, more: object = {}) =>
      new BudgetCaller(http, tenant).admit('ranking', 'P1', 100, more);
    for (const tenant of [mine, other]) expect((await ask(weir.http, tenant)).status).to.equal(201);

    await victim.end('SIGKILL');
    const answers = await Promise.all([
      ask(weir.http, mine, { request_id: 'open' }),
      ask(budgets.closed.http, mine, { request_id: 'closed' }),
      ask(weir.http, other),
      ask(budgets.closed.http, other),
    ]);
    expect(
      answers.map(({ status, body }) => [status, body.code ?? body.decision, body['context']]),
    ).to.deep.equal([
      [201, 'ALLOW', { degraded: true, reason: 'no_worker' }],
      [503, 'undecided', undefined],
      [201, 'ALLOW', undefined],
      [201, 'ALLOW', undefined],
    ]);
    let retried = await ask(budgets.closed.http, mine, { request_id: 'closed' });
    await until(10_000, 'the retry is decided', async () => {
      retried = await ask(budgets.closed.http, mine, { request_id: 'closed' });
      return retried.status !== 503;
    });
    expect([retried.status, retried.body.status]).to.deep.equal([200, 'held']);
    await budgets.calm();
    expect((await new BudgetCaller(weir.http, mine).used())['ranking']).to.deep.equal([0, 300]);
    expect((await new BudgetCaller(weir.http, other).used())['ranking']).to.deep.equal([0, 300]);
    await expectNoDrift(weir.environment);
  });

  it('the backlog is full while nobody works: what callers see, and what is true afterwards', async function () {
    this.timeout(60_000);
    await budgets.close();
    budgets = await BudgetsUnderFault.start({ postgres: true, settings: { BACKLOG_MAX: '20' } });
    const { weir, closed } = budgets;
    const worker = await weir.worker();
    await budgets.begin();
    const holds = await budgets.holds();
    await worker.close();
    const full = '429 backlog_full';
    const keyed = { request_id: 'kept' };
    await Promise.all(Array.from({ length: 20 }, () => closed.admit('llm', 'P1', 1, keyed)));
    const common = { settle: full, cancel: full, put: full, admission: '200', budget: '200' };
    expect(await budgets.look(holds)).to.deep.equal({
      open: { ...common, admit: '201 ALLOW backlog_full', evaluate: '200 ALLOW backlog_full' },
      closed: { ...common, admit: full, evaluate: full },
    });
    await weir.worker();
    await weir.ready();
    // What was given away is charged beside the backlog; what was refused is nowhere.
    const held = 4 * LOOK.hold + 1 + LOOK.admit;
    await budgets.expectUsed({ held, settled: LOOK.evaluate });
    expect((await closed.admit('llm', 'P1', 1, keyed)).body.attempts).to.equal(21);
    await expectNoDrift(weir.environment);
  });
});
