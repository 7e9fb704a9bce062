import { type Bench, scaled } from './bench.js';
import { type Comparison, compare, figuresOf, inThousands, type Percentiles } from './figures.js';
import { type PostgresServer, startPostgres } from './postgres-server.js';
import { type Row, shownBytes, shownPercentiles, shownRatio } from './report.js';
import * as latency from './usage-latency.js';
import { BATCH_SIZES, DIMENSIONS, EVENTS_PER_WINDOW, usageMemory } from './usage-memory.js';
import { bullmqUsageRate, type Cpu, EVENTS_PER_BODY, type UsageRate, weirUsageRate } from './usage-rate.js';

const RATE_GOAL = 150_000;
const RATIO_GOAL = 10;
/** Ten seconds of work: machine code is made and the heaps have grown in the warm-up. */
const EVENTS = 1_500_000;
const WARM_UP_EVENTS = 300_000;
const BULLMQ_EVENTS = 40_000;
const BULLMQ_WARM_UP_EVENTS = 8000;
/** For the figures beside the goals: fewer events, fewer rounds. */
const OTHER_EVENTS = 500_000;
const OTHER_ROUNDS_MAX = 3;
const CUSTOMERS = 1000;
const LATENCY_SECONDS = 20;
const MEMORY_CUSTOMERS = 200;

/** The ways of (f), measured in turn. */
const WAYS = ['one', 'bullmq', 'many', 'archived'] as const;
type Way = (typeof WAYS)[number];
type Rounds = Readonly<Record<Way, UsageRate[]>>;

export async function usageRatePart(bench: Bench): Promise<Row[]> {
  const postgres = await startPostgres();
  try {
    const rounds: Rounds = { one: [], bullmq: [], many: [], archived: [] };
    for (let round = 0; round < bench.rounds; round += 1) {
      const ways = round < OTHER_ROUNDS_MAX ? WAYS : WAYS.slice(0, 2);
      // A B, B A, A B, …: a machine that gets slower or faster favours neither.
      for (const way of round % 2 === 0 ? ways : ways.toReversed()) {
        rounds[way].push(await measureWay(bench, postgres, way));
      }
    }
    return rateRows(rounds);
  } finally {
    await postgres.stop();
  }
}

async function measureWay(bench: Bench, postgres: PostgresServer, way: Way): Promise<UsageRate> {
  const { redis } = bench;
  const count = (full: number) => scaled(bench, full, EVENTS_PER_BODY);
  const warmUpEvents = count(WARM_UP_EVENTS);
  const others = { events: count(OTHER_EVENTS), warmUpEvents };
  switch (way) {
    case 'one':
      return weirUsageRate(redis, { events: count(EVENTS), warmUpEvents, customers: 1 });
    case 'bullmq':
      return bullmqUsageRate(redis, {
        ...{ events: count(BULLMQ_EVENTS), warmUpEvents: count(BULLMQ_WARM_UP_EVENTS), customers: 1 },
      });
    case 'many':
      return weirUsageRate(redis, { ...others, customers: CUSTOMERS });
    case 'archived': {
      const databaseUrl = await postgres.createDatabase();
      const rate = await weirUsageRate(redis, { ...others, customers: 1, databaseUrl });
      await postgres.dropDatabase(databaseUrl);
      return rate;
    }
  }
}

function rateRows({ one, bullmq, many, archived }: Rounds): Row[] {
  const rates = (of: readonly UsageRate[]) => of.map(({ eventsPerSecond }) => eventsPerSecond);
  const against = (ours: readonly UsageRate[], peer: readonly UsageRate[]): Comparison =>
    compare(rates(ours).map((rate, round) => [rate, peer[round]!.eventsPerSecond]));
  const toPeer = against(one, bullmq);
  const row = (what: string, ours: readonly UsageRate[]): Row => {
    const toOne = against(ours, one);
    const ratio = `${shownRatio(toOne.ratio)} of one customer`;
    return { part: 'f', what, ours: inThousands(toOne.ours), ratio };
  };
  const rows = figuresOf(archived.map(({ archivedPerSecond }) => archivedPerSecond)).median;
  return [
    {
      part: 'f',
      what: 'POST /usage/batch to committed windows, one customer; Fastify and one BullMQ worker',
      ours: inThousands(toPeer.ours),
      peer: inThousands(toPeer.peer),
      ratio: shownRatio(toPeer.ratio),
      goal: `>= ${RATE_GOAL / 1000}k/s, ratio >= ${RATIO_GOAL}`,
      met: toPeer.ours.median >= RATE_GOAL && toPeer.ratio.median >= RATIO_GOAL,
    },
    {
      ...{ part: 'f', what: 'CPU per event: API + worker + Redis (+ load generator)' },
      ...{ ours: shownCpu(one), peer: shownCpu(bullmq) },
    },
    row(`the same for ${CUSTOMERS} customers`, many),
    row(`the same for one customer while ${(rows / 1000).toFixed(1)}k/s go on into Postgres`, archived),
    {
      ...{ part: 'f', what: 'CPU per event then, Postgres besides' },
      ours: shownCpu(archived),
    },
  ];
}

function shownCpu(rounds: readonly UsageRate[]): string {
  const known = rounds.flatMap(({ cpu }) => (cpu === undefined ? [] : [cpu]));
  if (known.length === 0) return 'unknown';
  const median = (name: keyof Cpu<number>) => figuresOf(known.map((cpu) => cpu[name])).median.toFixed(2);
  return `${median('api')} + ${median('worker')} + ${median('redis')} (+ ${median('generator')}) µs`;
}

export async function usageLatencyPart(bench: Bench): Promise<Row[]> {
  const postgres = await startPostgres();
  try {
    const seconds = scaled(bench, LATENCY_SECONDS);
    const measured = await latency.usageLatency(bench.redis, postgres, seconds);
    const { visible, posts, reads, roundTrips, samples, eventsPerSecond } = measured;
    const reached = `${latency.EVENTS_PER_SECOND} events/s (${eventsPerSecond.toFixed(0)} reached)`;
    const times = (of: Percentiles) =>
      `p50 ${(of.p50 / roundTrips.p50).toFixed(1)}, p99 ${(of.p99 / roundTrips.p99).toFixed(1)}`;
    return [
      {
        part: 'i',
        what: `POST /usage/batch answered to visible in GET /usage/current, ${reached}, ${samples} samples; PING`,
        ours: shownPercentiles(visible),
        peer: shownPercentiles(roundTrips),
        ratio: times(visible),
      },
      {
        part: 'i',
        what: 'of which the GET that sees it',
        ours: shownPercentiles(reads),
        ratio: times(reads),
      },
      { part: 'i', what: 'the POSTs themselves', ours: shownPercentiles(posts), ratio: times(posts) },
    ];
  } finally {
    await postgres.stop();
  }
}

export async function usageMemoryPart(bench: Bench): Promise<Row[]> {
  const used = await usageMemory(bench.redis, scaled(bench, MEMORY_CUSTOMERS));
  const part = 'j';
  const [single, batch] = used.perEvent;
  return [
    {
      part,
      what: `Redis per usage event in flight, ${BATCH_SIZES[1]} per stream entry; one event per entry`,
      ours: shownBytes(batch!),
      peer: shownBytes(single!),
      ratio: (batch! / single!).toFixed(2),
    },
    ...DIMENSIONS.flatMap((dimensions, group): Row[] => [
      {
        part,
        what: `Redis per hot window of ${EVENTS_PER_WINDOW} events, ${dimensions} endpoints, ${dimensions} models`,
        ours: `${shownBytes(used.perWindow[group]!)} + ${shownBytes(used.perIndex)} in the index`,
        ratio: `${(used.perWindow[group]! / EVENTS_PER_WINDOW / batch!).toFixed(3)} of its events`,
      },
      {
        part,
        what: `Redis per customer's counters, ${dimensions} endpoints, ${dimensions} models`,
        ours: shownBytes(used.perCounters[group]!),
      },
    ]),
    {
      part,
      what: `Redis per remembered usage event id (${used.ids / 1000}k ids)`,
      ours: shownBytes(used.perId),
      ratio: `${(used.perId / batch!).toFixed(3)} of its event`,
    },
  ];
}
