import { expect } from 'chai';
import { nanoid } from 'nanoid';
import pg from 'pg';
import { ApiProcess } from '../support/api-process.js';
import { CuttableProxy } from '../support/cuttable-proxy.js';
import { HttpClient } from '../support/http-client.js';
import { PostgresServer } from '../support/postgres-server.js';
import { patient, RedisServer, until } from '../support/redis-server.js';
import { expectNoDrift } from '../support/run-reconcile.js';
import { Fleet } from '../support/worker-process.js';
import { admit, end, type Plan } from './open-client.js';

const CALLERS = 12;
const REQUESTS = 150;
const TOKENS = 100;
/** How often an API is cut off, and workers and APIs are killed, while requests are made. */
const ROUNDS = 3;

const SETTINGS = {
  FAIL_MODE: 'open',
  FAIL_OPEN_TOKENS_MAX: '1000000000',
  ADMISSION_DEADLINE_MS: '500',
  REPLY_DEADLINE_MS: '500',
  BUDGET_WINDOW_SECONDS: String(31 * 86_400),
  HOLD_SECONDS: '3600',
  BATCH_MESSAGES_MAX: '5',
  LEASE_TTL_MS: '900',
  HEARTBEAT_MS: '150',
  ARCHIVE_DELAY_MS: '100',
  RECONCILE_INTERVAL_SECONDS: '3600',
  LOG_LEVEL: 'silent',
} as const;

const WIDE = { limit: 1_000_000_000, soft_threshold: 1, hard_threshold: 1, p0_threshold: 1 } as const;
const BUDGETS = {
  ...{ actor: 'test', reason: 'everything fits', max_request_share: 1 },
  levels: [
    { name: 'global', parent: null, ...WIDE },
    { name: 'llm', parent: 'global', ...WIDE },
  ],
};

/** What one caller was told, and what it said. */
interface Done {
  readonly ids: readonly string[];
  readonly given: readonly (string | undefined)[];
  readonly plan: Plan;
  readonly statuses: readonly number[];
}

describe('chaos of budgets that fail open', () => {
  let redisServer: RedisServer;
  let postgres: PostgresServer;
  let proxy: CuttableProxy;
  let environment: Readonly<Record<string, string>>;
  let fleet: Fleet;
  /** The first one reaches Redis through the proxy. */
  let apis: ApiProcess[] = [];

  before(async function () {
    this.timeout(patient(30_000));
    redisServer = await RedisServer.start();
    postgres = await PostgresServer.start();
    proxy = await CuttableProxy.start(redisServer.url);
    const stores = { REDIS_URL: redisServer.url, DATABASE_URL: await postgres.createDatabase() };
    environment = { ...stores, WEIR_NAMESPACE: `chaos-${nanoid(6)}`, ...SETTINGS };
    fleet = await Fleet.start(3, environment);
    apis = await Promise.all([startApi(0), startApi(1)]);
    const http = new HttpClient(apis[1]!.url);
    await until(30_000, 'the budgets are configured', async () => {
      return (await http.put('/budgets', BUDGETS)).status === 200;
    });
  });
  after(async () => {
    await fleet?.close();
    await Promise.all(apis.map((api) => api.end('SIGKILL')));
    await proxy?.close();
    await postgres?.stop();
    await redisServer?.stop();
  });

  const startApi = (place: number): Promise<ApiProcess> =>
    ApiProcess.start(place === 0 ? { ...environment, REDIS_URL: proxy.url } : environment);
  const urls = (): readonly string[] => apis.map(({ url }) => url);
  const killApi = async (place: number): Promise<void> => {
    await apis[place]!.end('SIGKILL');
    apis[place] = await startApi(place);
  };
  const killWorkers = async (): Promise<number> => {
    const victims = fleet.alive;
    await Promise.all(victims.map((victim) => victim.end('SIGKILL')));
    return victims.length;
  };
  /** What was cut off has told the workers everything: killed before, it would take that with it. */
  const reported = (): Promise<void> =>
    until(30_000, 'everything is reported', async () => {
      const { text } = await new HttpClient(apis[0]!.url).get('/metrics');
      return text.includes('weir_fail_open_unreported 0\n');
    });

  it('charges every caller what it said, though workers and APIs are killed and one API is cut off', async function () {
    this.timeout(patient(60_000));
    const done: Done[] = [];
    let next = 0;
    const caller = async (): Promise<void> => {
      for (let n = next++; n < REQUESTS; n = next++) done.push(await oneRequest(urls, n));
    };
    const calling = Promise.all(Array.from({ length: CALLERS }, caller));
    const failed = calling.then(
      () => false,
      () => true,
    );
    let kills = 0;
    const progress = async (share: number): Promise<void> => {
      const enough = REQUESTS * share;
      // A caller that failed says so below.
      const isOver = await Promise.race([failed, reach(() => done.length >= enough)]);
      if (isOver === true) await calling;
    };
    for (let round = 0; round < ROUNDS; round++) {
      proxy.cut();
      await progress((round + 0.3) / ROUNDS);
      kills += await killWorkers();
      await killApi(1);
      await progress((round + 0.5) / ROUNDS);
      proxy.mend();
      await reported();
      await fleet.replaceDead();
      await progress((round + 0.8) / ROUNDS);
      await reported();
      await killApi(0);
    }
    await calling;
    await fleet.replaceDead();
    await reported();

    const http = new HttpClient(apis[1]!.url);
    for (const { ids, plan } of done) await expectEnded(http, ids, plan);
    const settled = done.reduce((sum, { plan }) => sum + (plan.actual ?? 0), 0);
    const { body } = await http.get<{ levels: { name: string; held: number; settled: number }[] }>('/budget');
    for (const level of body.levels) expect(level).to.include({ held: 0, settled });
    await expectLedger(environment['DATABASE_URL']!, settled);
    await expectNoDrift(environment);

    const given = (reason: string) => done.filter((each) => each.given.includes(reason)).length;
    const early = done.filter(({ statuses }) => statuses.includes(503)).length;
    expect([given('store_unavailable') > 0, given('no_worker') > 0, early > 0]).to.deep.equal([
      true,
      true,
      true,
    ]);
    process.stdout.write(
      `      ${done.length} requests, ${kills} workers and ${2 * ROUNDS} APIs killed -9; given undecided: ` +
        `${given('no_worker')} no_worker, ${given('store_unavailable')} store_unavailable; ${early} ended before\n`,
    );
  });
});

/** Every fifth request is made at both APIs at once, and ended by both ids. */
async function oneRequest(urls: () => readonly string[], n: number): Promise<Done> {
  const body = { pipeline: 'llm', priority: 'P1', estimated_tokens: TOKENS, request_id: `request-${n}` };
  const plan: Plan = { actual: n % 3 === 0 ? null : 1 + (n % 150), trusts: n % 2 === 0 };
  const places = n % 5 === 0 ? [() => urls().slice(0, 1), () => urls().slice(1)] : [urls];
  const made = await Promise.all(places.map((place) => admit(place, body)));
  const ids = [...new Set(made.map(({ id }) => id))];
  const statuses: number[] = [];
  for (const id of ids) statuses.push(await end(urls, id, plan));
  return { ids, given: made.map(({ given }) => given), plan, statuses };
}

async function expectEnded(http: HttpClient, ids: readonly string[], { actual }: Plan): Promise<void> {
  const expected = actual === null ? ['cancelled', 0] : ['settled', actual];
  for (const id of ids) {
    let last: unknown;
    await until(15_000, `${id} has ended`, async () => {
      const { status, body } = await http.get<{ status: string; charged_tokens: number }>(
        `/admissions/${id}`,
      );
      last = status === 200 ? [body.status, body.charged_tokens] : status;
      return status === 200 && body.status !== 'held';
    }).catch(() => undefined);
    expect(last, id).to.deep.equal(expected);
  }
}

/** What the ledger adds up to. */
async function expectLedger(url: string, settled: number): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    let last: unknown;
    await until(20_000, 'the ledger has everything', async () => {
      const { rows } = await client.query(
        'SELECT sum(held)::int AS held, sum(settled)::int AS settled FROM budget_ledger',
      );
      last = rows[0];
      return JSON.stringify(last) === JSON.stringify({ held: 0, settled });
    }).catch(() => undefined);
    expect(last).to.deep.equal({ held: 0, settled });
  } finally {
    await client.end();
  }
}

async function reach(condition: () => boolean): Promise<undefined> {
  await until(90_000, 'the callers go on', condition);
}
