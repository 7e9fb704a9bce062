import { expect } from 'chai';
import pg from 'pg';
import { RedisServer, until } from '../../../support/redis-server.js';
import { WeirFixture } from '../../../support/weir-fixture.js';
import { BudgetCaller, LONG_WINDOW } from './budget-caller.js';

const SETTINGS = { ...LONG_WINDOW, PARTITIONS: '1', ARCHIVE_DELAY_MS: '50', REPLY_DEADLINE_MS: '8000' };

describe('contract: budgets that somebody broke in Postgres, and Redis has lost', () => {
  let server: RedisServer;
  let weir: WeirFixture;
  let database: pg.Client;
  let acme: BudgetCaller;
  let globex: BudgetCaller;
  /** A process that gives away what nobody decides, and one that does not. */
  let callers: readonly BudgetCaller[];

  beforeEach(async () => {
    server = await RedisServer.start();
    weir = await WeirFixture.start({ settings: SETTINGS, redisUrl: server.url, postgres: true });
    database = new pg.Client({ connectionString: weir.environment['DATABASE_URL'] });
    await database.connect();
    acme = new BudgetCaller(weir.http, 'acme');
    globex = new BudgetCaller(weir.http, 'globex');
    callers = [acme, new BudgetCaller(await weir.api({ FAIL_MODE: 'closed' }), 'acme')];
    for (const limit of [100, 200, 300]) await put(acme, limit);
    await put(globex, 100);
    await until(10_000, 'Postgres has all versions', async () => {
      const { rows } = await database.query(`SELECT FROM budget_versions WHERE tenant_id <> 'default'`);
      return rows.length === 4;
    });
  });
  afterEach(async () => {
    await database.end();
    await weir.close();
    await server.stop();
  });

  async function put(caller: BudgetCaller, limit: number): Promise<void> {
    const levels = [
      { name: 'global', limit },
      { name: 'llm', parent: 'global', limit },
    ];
    const body = { actor: 'me', reason: 'because', max_request_share: 1, levels };
    const answer = await caller.send<{ status: string }>('PUT', '/budgets', body);
    expect([answer.status, answer.body.status]).to.deep.equal([200, 'applied']);
  }

  /** Redis loses everything; resolves when somebody has decided for another tenant. */
  async function loseRedis(): Promise<void> {
    await weir.redis.flushall();
    await until(20_000, 'somebody decides', async () => {
      const ask = { pipeline: 'llm', priority: 'P1', estimated_tokens: 1 };
      const { body } = await globex.send<{ context?: { degraded?: true } }>('POST', '/v1/evaluate', ask);
      return body.context !== undefined && body.context.degraded === undefined;
    });
    await weir.ready();
  }

  it('are those of the newest version that can be used', async () => {
    await database.query(
      `UPDATE budget_versions SET document = '{"levels":[]}' WHERE tenant_id = 'acme' AND version = 3`,
    );
    await database.query(
      `INSERT INTO budget_versions (tenant_id, applied_at, version, document, actor, reason)
       VALUES ('acme', 'infinity', 9, '{}', 'me', 'r'), ('acme', '-infinity', 9, '{}', 'me', 'r')`,
    );
    await loseRedis();
    expect((await acme.budget()).levels.map(({ name, limit }) => [name, limit])).to.deep.equal([
      ['global', 200],
      ['llm', 200],
    ]);
    expect((await acme.admit('llm', 'P1', 190)).status).to.equal(201);
    expect((await acme.admit('llm', 'P1', 190)).body.code).to.equal('budget_exhausted');
    const { body } = await acme.send<{ versions: object[] }>('GET', '/budgets/versions');
    expect(body.versions.map((each) => ['broken' in each, 'levels' in each])).to.deep.equal([
      [true, false],
      [false, true],
      [false, true],
    ]);
  }).timeout(60_000);

  it('are none where no version can be used: nothing is admitted, nothing given, until they are put anew', async () => {
    await database.query(`UPDATE budget_versions SET document = to_jsonb(version) WHERE tenant_id = 'acme'`);
    await loseRedis();
    for (const caller of callers) {
      for (const pipeline of ['llm', 'monitoring', 'global']) {
        const answers = [
          await caller.admit(pipeline, 'P0', 1, { request_id: pipeline }),
          await caller.send<{ code: string }>('POST', '/v1/evaluate', {
            ...{ pipeline, priority: 'P0', estimated_tokens: 1 },
          }),
        ];
        for (const { status, body } of answers) {
          expect(status).to.equal(503);
          expect(body).to.include({ code: 'undecided', retryable: true, reason: 'unsound_budgets' });
        }
      }
    }
    expect((await acme.budget()).levels.map(({ name, limit, available }) => [name, limit, available.P0]))
      // Nothing is to be had.
      .to.deep.equal([['global', 0, 0]]);
    await put(acme, 100);
    const admitted = await acme.admit('llm', 'P1', 95, { request_id: 'llm-2' });
    expect([admitted.status, admitted.body.decision]).to.deep.equal([201, 'ALLOW_DEGRADED']);
    expect((await acme.send<{ version: number }>('GET', '/budgets')).body.version).to.equal(4);
  }).timeout(60_000);
});
