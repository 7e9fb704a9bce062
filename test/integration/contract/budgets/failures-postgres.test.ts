import { expect } from 'chai';
import { PostgresServer } from '../../../support/postgres-server.js';
import { expectNoDrift } from '../../../support/run-reconcile.js';
import { BudgetsUnderFault, CLOSED_WITHOUT_WORKER, DECIDED, LOOK, OPEN_WITHOUT_WORKER } from './failures.js';

const OUTBOX_MAX = 40;

describe('contract: budgets while Postgres is gone', () => {
  let server: PostgresServer;
  let budgets: BudgetsUnderFault;
  before(async () => {
    server = await PostgresServer.start();
  });
  after(() => server.stop());
  beforeEach(async () => {
    await server.restart();
    const settings = { OUTBOX_MAX: String(OUTBOX_MAX) };
    budgets = await BudgetsUnderFault.start({ postgres: server, settings });
    await budgets.weir.worker();
    await budgets.begin();
  });
  afterEach(() => budgets.close());

  const versions = async (): Promise<string> => {
    const { status, body } = await budgets.open.send<{ code?: string }>('GET', '/budgets/versions');
    return `${status} ${body.code ?? ''}`;
  };

  it('decides on; once its outbox is full nobody decides; when it is back the ledger has everything, once', async function () {
    this.timeout(60_000);
    const { weir, open } = budgets;
    const holds = await budgets.holds();
    const more = await budgets.holds();
    await budgets.expectUsed({ held: 8 * LOOK.hold, settled: 0 });
    expect(await versions()).to.equal('200 ');

    await server.kill();
    expect(await budgets.look(holds)).to.deep.equal({ open: DECIDED, closed: DECIDED });
    expect(await versions()).to.equal('503 store_unavailable');
    const shown = await open.budget();
    expect(shown.levels.map(({ held }) => held)).to.deep.equal(Array(2).fill(4 * LOOK.hold + 2 * LOOK.admit));

    // One entry of the outbox after the other, until there is no room for more.
    let decided = 0;
    for (;;) {
      const { status, body } = await open.admit('llm', 'P1', 1);
      expect(status).to.equal(201);
      if (body['context'] !== undefined) break;
      decided += 1;
    }
    // A look or two make entries too; and the bound is met to a step.
    expect(decided).to.be.within(OUTBOX_MAX / 4, OUTBOX_MAX + 1);
    expect(await budgets.look(more)).to.deep.equal({
      open: OPEN_WITHOUT_WORKER,
      closed: CLOSED_WITHOUT_WORKER,
    });
    expect((await weir.http.get('/health')).status).to.equal(200);

    await server.restart();
    // The evaluate that got 503 was given back.
    const settled = 4 * LOOK.settle + 3 * LOOK.evaluate;
    await budgets.expectUsed({ held: 4 * LOOK.admit + decided + 1, settled });
    expect(await versions()).to.equal('200 ');
    expect(await budgets.look(await budgets.holds())).to.deep.equal({ open: DECIDED, closed: DECIDED });
    await expectNoDrift(weir.environment);
  });
});
