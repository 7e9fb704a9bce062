import { expect } from 'chai';
import { nanoid } from 'nanoid';
import pg from 'pg';
import { ApiFleet } from '../support/api-process.js';
import { HttpClient } from '../support/http-client.js';
import { PostgresServer } from '../support/postgres-server.js';
import { patient, RedisServer, until } from '../support/redis-server.js';
import { expectNoDrift } from '../support/run-reconcile.js';
import { Fleet } from '../support/worker-process.js';
import { admitUntilDecided, type FinalAnswer } from './admission-client.js';

const REQUESTS = 2000;
const FITS = 100;
const TOKENS = 100;
/** How often all workers and an API are killed while requests are decided; in the middle one of them Redis. */
const KILL_ROUNDS = 6;

/** Many small commits, so that kills come between them. */
const SETTINGS = {
  FAIL_MODE: 'closed',
  // Every retry is one more message to decide: as long as workers take to come back on a slow machine.
  ADMISSION_DEADLINE_MS: '5000',
  BUDGET_WINDOW_SECONDS: String(31 * 86_400),
  HOLD_SECONDS: '3600',
  BATCH_MESSAGES_MAX: '5',
  LEASE_TTL_MS: '900',
  HEARTBEAT_MS: '150',
  ARCHIVE_DELAY_MS: '100',
  RECONCILE_INTERVAL_SECONDS: '3600',
  LOG_LEVEL: 'silent',
} as const;

/** Everything up to the limit, nothing beyond, in requests of any size. */
const EXACT = { soft_threshold: 1, hard_threshold: 1, p0_threshold: 1 } as const;
const BUDGETS = {
  actor: 'test',
  reason: 'fits exactly so many',
  max_request_share: 1,
  levels: [
    { name: 'global', parent: null, limit: FITS * TOKENS, ...EXACT },
    { name: 'llm', parent: 'global', limit: FITS * TOKENS, ...EXACT },
  ],
};

describe('chaos of budgets', () => {
  let redisServer: RedisServer;
  let postgres: PostgresServer;
  let environment: Readonly<Record<string, string>>;
  let fleet: Fleet;
  let apis: ApiFleet;

  before(async function () {
    this.timeout(patient(20_000));
    // What it has answered it has written: kill -9 takes nothing back.
    redisServer = await RedisServer.start('--appendfsync', 'always');
    postgres = await PostgresServer.start();
  });
  after(async () => {
    await postgres?.stop();
    await redisServer?.stop();
  });
  beforeEach(async function () {
    this.timeout(patient(20_000));
    const stores = { REDIS_URL: redisServer.url, DATABASE_URL: await postgres.createDatabase() };
    environment = { ...stores, WEIR_NAMESPACE: `chaos-${nanoid(6)}`, ...SETTINGS };
    fleet = await Fleet.start(3, environment);
    apis = await ApiFleet.start(2, environment);
    const http = new HttpClient(apis.urls[0]!);
    await until(20_000, 'the budgets are configured', async () => {
      const { status } = await http.put('/budgets', BUDGETS);
      return status === 200;
    });
  });
  afterEach(async () => {
    await fleet?.close();
    await apis?.close();
  });

  for (const [title, copies] of [
    ['2,000 concurrent requests for a budget that fits 100', 1],
    ['the same with a retry of every request beside it', 2],
  ] as const) {
    it(`${title}: exactly 100 admitted, and the ledger proves it`, async function () {
      this.timeout(patient(60_000));
      const asking = Array.from({ length: REQUESTS * copies }, (_, index) =>
        admitUntilDecided(() => apis.urls, {
          pipeline: 'llm',
          priority: (['P0', 'P1', 'P2'] as const)[(index % REQUESTS) % 3],
          estimated_tokens: TOKENS,
          request_id: `request-${index % REQUESTS}`,
        }),
      );
      let decided = 0;
      for (const each of asking)
        void each.then(
          () => (decided += 1),
          () => undefined,
        );
      const kills = await killUntil({ fleet, apis, redisServer }, () => decided, asking.length);
      const answers = await Promise.all(asking);
      await fleet.replaceDead();

      const admitted = answers.filter(({ status }) => status === 200 || status === 201);
      const refused = answers.filter(({ status }) => status === 429);
      expect(admitted.length + refused.length).to.equal(answers.length);
      const ids = new Set(admitted.map(({ admissionId }) => admissionId));
      const asked = new Set(
        answers.flatMap(({ status }, index) => (status === 429 ? [] : [index % REQUESTS])),
      );
      expect([ids.size, asked.size]).to.deep.equal([FITS, FITS]);
      expect(kills.workers, 'workers killed').to.be.above(5);
      expect([kills.apis, kills.redis]).to.deep.equal([KILL_ROUNDS, 1]);
      await expectLedger(environment['DATABASE_URL']!);
      await expectNoDrift(environment);
      process.stdout.write(`      ${summary(answers, kills)}\n`);
    });
  }
});

interface Running {
  readonly fleet: Fleet;
  readonly apis: ApiFleet;
  readonly redisServer: RedisServer;
}

interface Kills {
  workers: number;
  apis: number;
  redis: number;
}

/**
 * Kills every worker that lives each time some more requests were decided: whoever owns the partition is among them, and
 * has just committed. With them an API that has asked, and once Redis.
 */
async function killUntil(
  { fleet, apis, redisServer }: Running,
  decided: () => number,
  all: number,
): Promise<Kills> {
  const kills = { workers: 0, apis: 0, redis: 0 };
  for (let round = 1; round <= KILL_ROUNDS; round += 1) {
    const next = Math.ceil((all * round) / (KILL_ROUNDS + 1));
    await until(60_000, `${next} requests are decided`, () => decided() >= next);
    const victims = fleet.alive;
    const replaced = apis.killOne();
    await Promise.all(victims.map((victim) => victim.end('SIGKILL')));
    kills.workers += victims.length;
    if (round === KILL_ROUNDS / 2) {
      await redisServer.crash();
      kills.redis += 1;
    }
    await Promise.all([replaced, fleet.replaceDead()]);
    kills.apis += 1;
  }
  return kills;
}

/** One grant for each admission, none for anything else; nothing of it was ever given back. */
async function expectLedger(url: string): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    const read = async () => {
      const { rows } = await client.query(
        'SELECT kind, count(*)::int AS entries, sum(held)::int AS held, sum(settled)::int AS settled FROM budget_ledger GROUP BY kind',
      );
      return rows as unknown[];
    };
    await until(20_000, 'the ledger is written', async () => (await read()).length > 0);
    let last: unknown;
    await until(20_000, 'the ledger has every grant', async () => {
      last = await read();
      return JSON.stringify(last).includes(`"entries":${FITS}`);
    }).catch(() => undefined);
    expect(last).to.deep.equal([{ kind: 'grant', entries: FITS, held: FITS * TOKENS, settled: 0 }]);
  } finally {
    await client.end();
  }
}

function summary(answers: readonly FinalAnswer[], { workers, apis, redis }: Kills): string {
  const attempts = answers.reduce((sum, answer) => sum + answer.attempts, 0);
  return `${answers.length} requests in ${attempts} attempts, ${FITS} admitted; killed -9: ${workers} workers, ${apis} APIs, ${redis} Redis`;
}
