import { randomInt } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import { expect } from 'chai';
import { Redis } from 'ioredis';
import { nanoid } from 'nanoid';
import { ApiFleet } from '../support/api-process.js';
import { PostgresServer } from '../support/postgres-server.js';
import { patient, RedisServer, until } from '../support/redis-server.js';
import { expectNoDrift } from '../support/run-reconcile.js';
import { UsageTopic } from '../support/usage-topic.js';
import { Fleet } from '../support/worker-process.js';
import { type Produced, produce } from './usage-producer.js';
import { UsageRecount } from './usage-recount.js';
import { UsageRows } from './usage-rows.js';
import { UsageViews } from './usage-views.js';

const EVENTS = 200_000;
const PRODUCERS = 8;
const TENANTS = ['acme', 'globex', 'initech', 'umbrella', 'wonka'];
const CUSTOMERS = Array.from({ length: 10 }, (_, i) => `customer:${i}`);
/** How long the events take to arrive, at least, and the disturbances last: longer where it takes that to come to KILLS_MIN. */
const CHAOS_MS = 20_000;
const KILLS_MIN = { workers: 6, databases: 2, apis: 2 } as const;
const WINDOW_MS = 5000;
const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

/** Windows close within the run, and those of its first seconds leave Redis in it. */
const SETTINGS = {
  WINDOW_SECONDS: String(WINDOW_MS / 1000),
  ALLOWED_LATENESS_SECONDS: '1',
  REVISION_DELAY_MS: '500',
  // 20 s.
  WINDOW_HOT_HOURS: '0.0055556',
  ARCHIVE_DELAY_MS: '100',
  // What a machine of two cores that does all of this at once can keep.
  LEASE_TTL_MS: '1500',
  HEARTBEAT_MS: '300',
  // The reconciler is run at the end, by hand.
  RECONCILE_INTERVAL_SECONDS: '3600',
} as const;

describe('chaos of metering', () => {
  let redisServer: RedisServer;
  let postgres: PostgresServer;
  let redis: Redis;
  let environment: Readonly<Record<string, string>>;
  let topic: UsageTopic;
  const recount = new UsageRecount();

  before(async function () {
    this.timeout(patient(60_000));
    // What it has answered it has written: kill -9 takes nothing back.
    redisServer = await RedisServer.start('--appendfsync', 'always');
    postgres = await PostgresServer.start();
    redis = new Redis(redisServer.url);
    redis.on('error', () => undefined);
    const namespace = `chaos-${nanoid(6)}`;
    const stores = { REDIS_URL: redisServer.url, DATABASE_URL: await postgres.createDatabase() };
    environment = { ...stores, WEIR_NAMESPACE: namespace, ...SETTINGS };
    topic = new UsageTopic(redis, namespace);
  });
  after(async () => {
    redis?.disconnect();
    await postgres?.stop();
    await redisServer?.stop();
  });

  it('every accepted event counts once in windows, rows and counters, whatever is killed', async function () {
    this.timeout(patient(140_000));
    const begun = Date.now();
    const fleet = await Fleet.start(3, environment);
    const apis = await ApiFleet.start(2, environment);
    try {
      const startedAt = Date.now();
      const disturbances = disturb({ fleet, postgres, apis, redisServer }, startedAt + CHAOS_MS);
      const produced = await Promise.all(
        Array.from({ length: PRODUCERS }, (_, i) =>
          produce({
            urls: () => apis.urls,
            recount,
            tenants: TENANTS,
            customers: CUSTOMERS,
            events: EVENTS / PRODUCERS,
            name: `p${i}`,
            startedAt,
            durationMs: CHAOS_MS,
          }),
        ),
      );
      const kills = await disturbances;
      const producedAt = Date.now();
      await fleet.replaceDead();
      await topic.drained(30_000);
      const expected = expectedWindows(recount);
      const views = new UsageViews(apis.urls[0]!, TENANTS, CUSTOMERS);
      const hot = await expectHotWindows(views, topic, expected, producedAt);
      await until(30_000, 'every window is closed', async () => (await views.unsettled()) === 0);
      await topic.archived(30_000);
      const settledMs = Date.now() - startedAt;
      const total = (of: (each: Produced) => number) => produced.reduce((sum, each) => sum + of(each), 0);
      const duplicates = total((each) => each.duplicates);
      const late = total((each) => each.late);
      expect(recount.events).to.equal(EVENTS);
      expect(kills.workers, 'workers killed').to.be.at.least(KILLS_MIN.workers);
      expect(kills.databases, 'times Postgres was killed').to.be.at.least(KILLS_MIN.databases);
      expect(kills.apis, 'APIs killed').to.be.at.least(KILLS_MIN.apis);
      expect(kills.redis, 'times Redis was killed').to.equal(1);
      expect(duplicates, 'duplicates').to.be.at.least(EVENTS / 10);
      expect(late, 'late events').to.be.above(EVENTS / 11);
      await expectNothingLeft(redis, topic);

      const range = { from: startedAt - 2_000_000, to: Date.now() + WINDOW_MS };
      expectSame(await views.settledWindows(range), expected, 'GET /usage/windows');
      const rows = await UsageRows.read(environment['DATABASE_URL']!);
      expectSame(rows.stored(), expected, 'aggregation_windows');
      expectSame(rows.counted(WINDOW_MS), expected, 'usage_events');
      await expectCounters(views, recount);

      // What this run is there for did happen: rows of every kind, and windows that Redis no longer has.
      const { statuses, countedTwice, cold } = rows;
      expect(countedTwice).to.deep.equal([]);
      expect(statuses.get('dead')).to.equal(undefined);
      expect(statuses.get('accepted')! + statuses.get('late')!).to.equal(EVENTS);
      expect(statuses.get('late')).to.be.at.least(late);
      expect(statuses.get('duplicate')).to.be.at.least(duplicates);
      expect(cold).to.be.above(EVENTS / 50);
      await expectNoDrift(environment);
      process.stdout.write(
        `      ${EVENTS} events and ${statuses.get('duplicate')} duplicates in ${total((each) => each.requests)} requests, ` +
          `${statuses.get('late')} late (${cold} for windows that Redis never had), ${expected.size} windows (${hot} read hot); ` +
          `killed -9: ${kills.workers} workers, ${kills.apis} APIs, ${kills.databases} times Postgres, ${kills.redis} Redis; produced in ` +
          `${seconds(producedAt - startedAt)} s, settled after ${seconds(settledMs)} s, all of it ${seconds(Date.now() - begun)} s\n`,
      );
    } finally {
      await fleet.close();
      await apis.close();
    }
  });
});

interface Running {
  readonly fleet: Fleet;
  readonly postgres: PostgresServer;
  readonly apis: ApiFleet;
  readonly redisServer: RedisServer;
}

interface Kills {
  workers: number;
  databases: number;
  apis: number;
  redis: number;
}

/**
 * Kills a random worker, with the sinks in it, every one to two seconds; a random API every two to three; Postgres with
 * all its processes every five seconds, for about one; and in the middle Redis.
 */
async function disturb({ fleet, postgres, apis, redisServer }: Running, end: number): Promise<Kills> {
  const begun = Date.now();
  const kills = { workers: 0, databases: 0, apis: 0, redis: 0 };
  const isOver = (of: keyof typeof KILLS_MIN): boolean => Date.now() > end && kills[of] >= KILLS_MIN[of];
  const killWorkers = async (): Promise<void> => {
    for (;;) {
      await sleep(randomInt(1000, 2000));
      if (isOver('workers')) return;
      const victims = fleet.alive;
      const victim = victims[randomInt(0, Math.max(1, victims.length))];
      if (victim === undefined) continue;
      await victim.end('SIGKILL');
      kills.workers += 1;
      void fleet.replaceDead();
    }
  };
  const killPostgres = async (): Promise<void> => {
    for (;;) {
      await sleep(4000);
      if (isOver('databases')) return;
      await postgres.kill();
      kills.databases += 1;
      await sleep(randomInt(500, 1500));
      await postgres.restart();
    }
  };
  const killApis = async (): Promise<void> => {
    for (;;) {
      await sleep(randomInt(2000, 3000));
      if (isOver('apis')) return;
      await apis.killOne();
      kills.apis += 1;
    }
  };
  const killRedis = async (): Promise<void> => {
    await sleep((end - begun) / 2);
    await redisServer.crash();
    kills.redis += 1;
  };
  await Promise.all([killWorkers(), killPostgres(), killApis(), killRedis()]);
  return kills;
}

/** `tenant customer start` → figures, of all customers. */
function expectedWindows(recount: UsageRecount): Map<string, unknown> {
  const all = new Map<string, unknown>();
  for (const tenant of TENANTS) {
    for (const customer of CUSTOMERS) {
      for (const [start, figures] of recount.windowsOf(tenant, customer, WINDOW_MS)) {
        all.set(`${tenant} ${customer} ${start}`, figures);
      }
    }
  }
  return new Map([...all].sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** Equal, key by key; what is not is shown, a few of them. */
function expectSame(
  actual: ReadonlyMap<string, unknown>,
  expected: ReadonlyMap<string, unknown>,
  what: string,
): void {
  const keys = new Set([...actual.keys(), ...expected.keys()]);
  const wrong = [...keys].filter((key) => !isDeepStrictEqual(actual.get(key), expected.get(key)));
  const few = wrong.slice(0, 3);
  const of = (figures: ReadonlyMap<string, unknown>) => few.map((key) => [key, figures.get(key)]);
  expect(of(actual), `${what}: ${wrong.length} of ${keys.size} differ`).to.deep.equal(of(expected));
}

/**
 * Those of the last seconds, while Redis still has them: in Postgres, or corrected there, they cannot be yet. Totals
 * are complete when everything is folded, although the windows are still open.
 * @returns how many there are in Redis
 */
async function expectHotWindows(
  views: UsageViews,
  topic: UsageTopic,
  all: ReadonlyMap<string, unknown>,
  producedAt: number,
): Promise<number> {
  const from = producedAt - 2 * WINDOW_MS;
  const startOf = (key: string) => Number(key.slice(key.lastIndexOf(' ')));
  const expected = new Map([...all].filter(([key]) => startOf(key) >= from));
  expect(expected).not.to.be.empty;
  expectSame(await views.windows({ from, to: producedAt + WINDOW_MS }), expected, 'hot windows');
  let hot = 0;
  for (const tenant of TENANTS) {
    for (const customer of CUSTOMERS) hot += (await topic.hotWindows(tenant, customer)).length;
  }
  return hot;
}

async function expectCounters(views: UsageViews, recount: UsageRecount): Promise<void> {
  const actual = new Map<string, unknown>();
  const expected = new Map<string, unknown>();
  let calls = 0;
  for (const tenant of TENANTS) {
    for (const customer of CUSTOMERS) {
      const { hour, day } = await views.current(tenant, customer);
      const key = `${tenant} ${customer}`;
      actual.set(key, [hour.figures, day.figures]);
      expected.set(key, [
        recount.slotOf(tenant, customer, HOUR_MS, hour.start),
        recount.slotOf(tenant, customer, DAY_MS, day.start),
      ]);
      calls += day.figures.calls;
    }
  }
  expectSame(actual, expected, 'counters of hour and day');
  // Midnight, UTC, alone can make it less than all.
  if (new Date().getUTCHours() > 0) expect(calls).to.equal(EVENTS);
}

async function expectNothingLeft(redis: Redis, topic: UsageTopic): Promise<void> {
  for (const keys of topic.all) {
    expect(await redis.xrange(keys.dead, '-', '+')).to.deep.equal([]);
    expect(await redis.hget(keys.head, 'dirty')).to.equal('0');
    await until(10_000, 'the stream is trimmed', async () => (await redis.xlen(keys.stream)) <= 1);
  }
}

function seconds(ms: number): string {
  return (ms / 1000).toFixed(1);
}
