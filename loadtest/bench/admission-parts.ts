import { type AtOnce, admissionLatency, IN_FLIGHT, type LatencyRound } from './admission-latency.js';
import { admissionMemory } from './admission-memory.js';
import { type AdmissionRate, admissionRate } from './admission-rate.js';
import { type Bench, scaled } from './bench.js';
import {
  type Comparison,
  compare,
  type Figures,
  figuresOf,
  inThousands,
  type Percentiles,
} from './figures.js';
import { type LedgerRate, measureLedgerRate } from './ledger-rate.js';
import { inDatabase, type PostgresServer, startPostgres } from './postgres-server.js';
import { comparisonRow, type Row, shownBytes, shownPercentiles, shownRatio } from './report.js';

const PART = 'm';
const OVER_DIRECT_MS_GOAL = 1;
const PER_SECOND_GOAL = 20_000;
const SECONDS = 3;
const DECISIONS = 100_000;
/** How full the entries are that a worker finds: ordinary traffic, and a flood. */
const MESSAGES_PER_ENTRY = [10, 256] as const;
const MEMORY_ADMISSIONS = 20_000;
const LEDGER_LINES = 100_000;
const LEDGER_ROUNDS_MAX = 3;

/** What a round has measured, by place in MESSAGES_PER_ENTRY. */
interface Round extends LatencyRound {
  readonly rates: readonly AdmissionRate[];
  /** The first of them while the ledger goes on into Postgres. */
  readonly recorded: AdmissionRate;
}

export async function admissionPart(bench: Bench): Promise<Row[]> {
  const postgres = await startPostgres();
  try {
    const rounds: Round[] = [];
    // A B, B A, A B, …: a machine that gets slower or faster favours neither.
    for (let round = 0; round < bench.rounds; round += 1) {
      rounds.push(await measureRound(bench, postgres, round % 2 === 1));
    }
    return [
      ...latencyRows(rounds),
      ...rateRows(rounds),
      ...(await memoryRows(bench)),
      await ledgerRow(bench, postgres),
    ];
  } finally {
    await postgres.stop();
  }
}

async function measureRound(bench: Bench, postgres: PostgresServer, peerFirst: boolean): Promise<Round> {
  const { redis } = bench;
  const seconds = scaled(bench, SECONDS);
  const decisions = scaled(bench, DECISIONS, 10_000);
  const rates: AdmissionRate[] = [];
  for (const messagesPerEntry of MESSAGES_PER_ENTRY) {
    rates.push(await admissionRate(redis, { decisions, messagesPerEntry }));
  }
  const recorded = await inDatabase(postgres, (databaseUrl) =>
    admissionRate(redis, { decisions, messagesPerEntry: MESSAGES_PER_ENTRY[0], databaseUrl }),
  );
  const latency = await inDatabase(postgres, (databaseUrl) =>
    admissionLatency(redis, { databaseUrl, seconds, peerFirst }),
  );
  return { ...latency, rates, recorded };
}

function latencyRows(rounds: readonly LatencyRound[]): Row[] {
  const over = figuresOf(rounds.map(({ ours, peer }) => ours[0]!.times.p50 - peer[0]!.times.p50));
  const atOnce = IN_FLIGHT.map((inFlight, place): Row => {
    const ours = rounds.map((round) => round.ours[place]!.times);
    const peer = rounds.map((round) => round.peer[place]!.times);
    const what = `POST /admissions, ${inFlight} in flight; one script called directly`;
    const times = { ours: medians(ours), peer: medians(peer) };
    return {
      ...{ part: PART, what, ours: shownPercentiles(times.ours), peer: shownPercentiles(times.peer) },
      ratio: `p50 ${ratioOf(ours, peer, 'p50')}, p99 ${ratioOf(ours, peer, 'p99')}`,
    };
  });
  const health = rounds.map((round) => round.health.times);
  const alone = rounds.map((round) => round.ours[0]!.times);
  return [
    atOnce[0]!,
    {
      part: PART,
      what: 'that less the script, 1 in flight, p50',
      ours: `${over.median.toFixed(2)} ms (${over.min.toFixed(2)}-${over.max.toFixed(2)})`,
      goal: `< ${OVER_DIRECT_MS_GOAL} ms`,
      met: over.median < OVER_DIRECT_MS_GOAL,
    },
    {
      part: PART,
      what: 'of which HTTP: GET /health, 1 in flight',
      ours: shownPercentiles(medians(health)),
      ratio: `p50 ${ratioOf(health, alone, 'p50')} of the admission`,
    },
    ...atOnce.slice(1),
  ];
}

function rateRows(rounds: readonly Round[]): Row[] {
  const directAt64 = rounds.map(({ peer }) => peer[IN_FLIGHT.indexOf(64)]!.perSecond);
  const toDirect = (rates: readonly number[]): Comparison =>
    compare(rates.map((rate, round) => [rate, directAt64[round]!]));
  const last = IN_FLIGHT.length - 1;
  const ours = rounds.map((round) => round.ours[last]!);
  const peer = rounds.map((round) => round.peer[last]!);
  const throughHttp = compare(ours.map(({ perSecond }, i) => [perSecond, peer[i]!.perSecond]));
  const rateRow = (what: string, rates: readonly AdmissionRate[]): Row =>
    comparisonRow(PART, what, toDirect(rates.map(({ perSecond }) => perSecond)));
  const cpuRow = (rates: readonly AdmissionRate[]): Row => ({
    ...{ part: PART, what: 'CPU per decision then: worker + Redis' },
    ours: `${micros(rates.map((rate) => rate.workerMicros))} + ${micros(rates.map((rate) => rate.redisMicros))} µs`,
  });
  const [usual, flooded] = MESSAGES_PER_ENTRY;
  const [ofUsual, ofFlooded] = MESSAGES_PER_ENTRY.map((_, place) => rounds.map(({ rates }) => rates[place]!));
  const { median } = figuresOf(ofUsual!.map(({ perSecond }) => perSecond));
  const goal = { goal: `>= ${PER_SECOND_GOAL / 1000}k/s`, met: median >= PER_SECOND_GOAL };
  return [
    {
      ...rateRow(`decisions by one worker, ${usual} per stream entry; the script, 64 in flight`, ofUsual!),
      ...goal,
    },
    cpuRow(ofUsual!),
    rateRow(`the same, ${flooded} per stream entry`, ofFlooded!),
    rateRow(
      `the same, ${usual} per stream entry, while the ledger goes on into Postgres`,
      rounds.map(({ recorded }) => recorded),
    ),
    comparisonRow(
      PART,
      `POST /admissions, ${IN_FLIGHT[last]} connections, requests/s; the script, as many in flight`,
      throughHttp,
    ),
    {
      part: PART,
      what: 'CPU per decision then: API + worker + Redis (+ load generator); caller + Redis',
      ours: `${['api', 'worker', 'redis'].map((name) => cpu(ours, name)).join(' + ')} (+ ${cpu(ours, 'generator')}) µs`,
      peer: `${['caller', 'redis'].map((name) => cpu(peer, name)).join(' + ')} µs`,
    },
  ];
}

async function memoryRows(bench: Bench): Promise<Row[]> {
  const admissions = scaled(bench, MEMORY_ADMISSIONS, 256);
  const { held, timer, settled } = await admissionMemory(bench.redis, admissions);
  const row = (what: string, ours: string): Row => ({ part: PART, what, ours });
  return [
    row('Redis per admission that is held', `${shownBytes(held)} + ${shownBytes(timer)} for its timer`),
    row('Redis per admission that is settled and kept', shownBytes(settled)),
  ];
}

async function ledgerRow(bench: Bench, postgres: PostgresServer): Promise<Row> {
  const rounds: LedgerRate[] = [];
  for (let round = 0; round < Math.min(bench.rounds, LEDGER_ROUNDS_MAX); round += 1) {
    const lines = scaled(bench, LEDGER_LINES, 100);
    rounds.push(await inDatabase(postgres, (url) => measureLedgerRate(url, lines)));
  }
  const rates = inThousands(figuresOf(rounds.map(({ rowsPerSecond }) => rowsPerSecond)));
  const cpuPerRow = micros(rounds.map(({ cpuMicrosPerRow }) => cpuMicrosPerRow));
  const what = 'rows of the ledger into Postgres, one partition';
  return { part: PART, what, ours: `${rates}, CPU of the writing process ${cpuPerRow} µs` };
}

/** Each round's percentiles, their medians. */
function medians(rounds: readonly Percentiles[]): Percentiles {
  const median = (name: keyof Percentiles) => figuresOf(rounds.map((round) => round[name])).median;
  return { p50: median('p50'), p99: median('p99') };
}

function ratioOf(
  ours: readonly Percentiles[],
  peer: readonly Percentiles[],
  name: keyof Percentiles,
): string {
  return shownRatio(compare(ours.map((times, round) => [times[name], peer[round]![name]])).ratio);
}

function cpu(rounds: readonly AtOnce[], name: string): string {
  return micros(rounds.map(({ cpuMicros }) => cpuMicros[name]!));
}

function micros(values: readonly number[]): string {
  const { median }: Figures = figuresOf(values);
  return Number.isNaN(median) ? 'unknown' : median.toFixed(1);
}
