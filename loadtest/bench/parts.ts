import { bullmqApplyRate, weirApplyRate } from './apply-rate.js';
import { decisionLatency, EVENTS_PER_SECOND, WORKERS } from './decision-latency.js';
import { type Comparison, compare, type Figures, inThousands } from './figures.js';
import type { HttpLoadJob } from './http-load.js';
import { CONNECTIONS, httpRatio } from './http-ratio.js';
import { memoryUse } from './memory.js';
import type { RedisServer } from './redis-server.js';
import type { Row } from './report.js';

/** Measures one part. */
export type Part = (redis: RedisServer, rounds: number) => Promise<Row[]>;

const HTTP_SECONDS = 3;
const HTTP_RATIO_GOAL = 0.8;
const APPLY_RATIO_GOAL = 8;
const LATENCY_SECONDS = 20;
const BYTES_PER_ID_GOAL = 10;
const WEIR_EVENTS = 300_000;
const BULLMQ_JOBS = 40_000;

/** How full the entries are that a worker finds: a posted batch or a busy API, and one event at a time. */
const MESSAGES_PER_ENTRY = 10;

export const PARTS: Readonly<Record<string, Part>> = {
  a: (redis, rounds) => http(redis, rounds, 'a', 'POST /event', 'post-event'),
  b: applied,
  c: (redis, rounds) => http(redis, rounds, 'c', 'GET /canmessage', 'can-message'),
  d: latency,
  e: memory,
};

async function http(
  redis: RedisServer,
  rounds: number,
  part: string,
  call: string,
  requests: HttpLoadJob['requests'],
): Promise<Row[]> {
  const result = await httpRatio(redis, { requests, rounds, seconds: HTTP_SECONDS });
  const rows: Row[] = [
    comparisonRow(part, `${call}, ${CONNECTIONS} connections; bare Fastify`, result, HTTP_RATIO_GOAL),
  ];
  const { cpu } = result;
  if (cpu !== undefined) {
    rows.push({
      part,
      what: 'CPU of the server process per request',
      ours: `${cpu.ours.median.toFixed(1)} µs`,
      peer: `${cpu.peer.median.toFixed(1)} µs`,
      ratio: (cpu.peer.median / cpu.ours.median).toFixed(2),
    });
  }
  return rows;
}

async function applied(redis: RedisServer, rounds: number): Promise<Row[]> {
  const batched: [number, number][] = [];
  const single: [number, number][] = [];
  for (let round = 0; round < rounds; round += 1) {
    const ours = await weirApplyRate(redis, { events: WEIR_EVENTS, messagesPerEntry: MESSAGES_PER_ENTRY });
    const peer = await bullmqApplyRate(redis, BULLMQ_JOBS);
    batched.push([ours, peer]);
    const oneByOne = await weirApplyRate(redis, { events: WEIR_EVENTS / 3, messagesPerEntry: 1 });
    single.push([oneByOne, peer]);
  }
  return [
    comparisonRow(
      'b',
      `events applied by one worker, ${MESSAGES_PER_ENTRY} per stream entry; one BullMQ worker`,
      compare(batched),
      APPLY_RATIO_GOAL,
    ),
    comparisonRow('b', 'the same, one event per stream entry', compare(single)),
  ];
}

async function latency(redis: RedisServer): Promise<Row[]> {
  const { visible, posts, reads, samples, eventsPerSecond } = await decisionLatency(redis, LATENCY_SECONDS);
  const shown = ({ p50, p99 }: typeof visible) => `p50 ${p50.toFixed(2)} ms, p99 ${p99.toFixed(2)} ms`;
  const at = `${EVENTS_PER_SECOND} events/s (${eventsPerSecond.toFixed(0)} reached), ${WORKERS} workers`;
  return [
    {
      part: 'd',
      what: `POST answered to decision visible, ${at}, ${samples} samples`,
      ours: shown(visible),
    },
    { part: 'd', what: 'of which the GET /canmessage that sees it', ours: shown(reads) },
    { part: 'd', what: 'the POSTs themselves', ours: shown(posts) },
  ];
}

async function memory(redis: RedisServer): Promise<Row[]> {
  const used = await memoryUse(redis);
  const bytes = (value: number) => `${value.toFixed(1)} B`;
  return [
    {
      part: 'e',
      what: `Redis per remembered event id (${used.ids / 1000}k ids)`,
      ours: bytes(used.bytesPerId),
      goal: `<= ${BYTES_PER_ID_GOAL} B`,
      met: used.bytesPerId <= BYTES_PER_ID_GOAL,
    },
    { part: 'e', what: 'Redis per user with purchases', ours: bytes(used.bytesPerBuyer) },
    {
      part: 'e',
      what: 'Redis per user with 2 flags and their restriction',
      ours: `${bytes(used.bytesPerRestricted)} + ${bytes(used.bytesPerRestrictedElsewhere)} in indexes`,
    },
  ];
}

function comparisonRow(part: string, what: string, { ours, peer, ratio }: Comparison, goal?: number): Row {
  return {
    ...{ part, what, ours: inThousands(ours), peer: inThousands(peer), ratio: shownRatio(ratio) },
    ...(goal === undefined ? {} : { goal: `>= ${goal}`, met: ratio.median >= goal }),
  };
}

function shownRatio({ min, median, max }: Figures): string {
  return `${median.toFixed(2)} (${min.toFixed(2)}-${max.toFixed(2)})`;
}
