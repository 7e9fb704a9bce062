import { admissionPart } from './admission-parts.js';
import { bullmqApplyRate, weirApplyRate } from './apply-rate.js';
import { type Bench, type Part, scaled } from './bench.js';
import { decisionLatency, EVENTS_PER_SECOND, WORKERS } from './decision-latency.js';
import { compare } from './figures.js';
import { httpPart } from './http-part.js';
import { memoryUse } from './memory.js';
import { comparisonRow, type Row, shownBytes, shownPercentiles } from './report.js';
import { insertPart, lockPart, rlsPart } from './store-parts.js';
import { usageLatencyPart, usageMemoryPart, usageRatePart } from './usage-parts.js';

const APPLY_RATIO_GOAL = 8;
const LATENCY_SECONDS = 20;
const BYTES_PER_ID_GOAL = 10;
const WEIR_EVENTS = 300_000;
const BULLMQ_JOBS = 40_000;

/** How full the entries are that a worker finds: a posted batch or a busy API, and one event at a time. */
const MESSAGES_PER_ENTRY = 10;

export const PARTS: Readonly<Record<string, Part>> = {
  a: httpPart('a', 'POST /event', 'post-event'),
  b: applied,
  c: httpPart('c', 'GET /canmessage', 'can-message'),
  d: latency,
  e: memory,
  f: usageRatePart,
  g: httpPart('g', 'POST /usage', 'post-usage'),
  h: insertPart,
  i: usageLatencyPart,
  j: usageMemoryPart,
  k: lockPart,
  l: rlsPart,
  m: admissionPart,
};

async function applied(bench: Bench): Promise<Row[]> {
  const { redis, rounds } = bench;
  const events = scaled(bench, WEIR_EVENTS, 300);
  const batched: [number, number][] = [];
  const single: [number, number][] = [];
  for (let round = 0; round < rounds; round += 1) {
    const ours = await weirApplyRate(redis, { events, messagesPerEntry: MESSAGES_PER_ENTRY });
    const peer = await bullmqApplyRate(redis, scaled(bench, BULLMQ_JOBS));
    batched.push([ours, peer]);
    const oneByOne = await weirApplyRate(redis, { events: events / 3, messagesPerEntry: 1 });
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

async function latency(bench: Bench): Promise<Row[]> {
  const seconds = scaled(bench, LATENCY_SECONDS);
  const { visible, posts, reads, samples, eventsPerSecond } = await decisionLatency(bench.redis, seconds);
  const at = `${EVENTS_PER_SECOND} events/s (${eventsPerSecond.toFixed(0)} reached), ${WORKERS} workers`;
  return [
    {
      part: 'd',
      what: `POST answered to decision visible, ${at}, ${samples} samples`,
      ours: shownPercentiles(visible),
    },
    { part: 'd', what: 'of which the GET /canmessage that sees it', ours: shownPercentiles(reads) },
    { part: 'd', what: 'the POSTs themselves', ours: shownPercentiles(posts) },
  ];
}

async function memory({ redis }: Bench): Promise<Row[]> {
  const used = await memoryUse(redis);
  return [
    {
      part: 'e',
      what: `Redis per remembered event id (${used.ids / 1000}k ids)`,
      ours: shownBytes(used.bytesPerId),
      goal: `<= ${BYTES_PER_ID_GOAL} B`,
      met: used.bytesPerId <= BYTES_PER_ID_GOAL,
    },
    { part: 'e', what: 'Redis per user with purchases', ours: shownBytes(used.bytesPerBuyer) },
    {
      part: 'e',
      what: 'Redis per user with 2 flags and their restriction',
      ours: `${shownBytes(used.bytesPerRestricted)} + ${shownBytes(used.bytesPerRestrictedElsewhere)} in indexes`,
    },
  ];
}
