import { Redis } from 'ioredis';
import { Keys, userDocument } from '../../shared/keys.js';
import { encodeUser } from '../../shared/state/state-codec.js';
import { NEW_USER, type UserState } from '../../shared/state/user-state.js';
import { DEFAULT_TENANT, partitionOf } from '../../shared/topics.js';
import { type Comparison, compare, type Figures, figuresOf } from './figures.js';
import { PARTITIONS } from './fill-streams.js';
import { benchUsers, type HttpLoad, type HttpLoadJob } from './http-load.js';
import { cpuMs, type Started, startProcess } from './processes.js';
import type { RedisServer } from './redis-server.js';

export const CONNECTIONS = 64;
const WARM_UP_SECONDS = 2;
const NAMESPACE = 'bench-http';

export interface HttpComparison extends Comparison {
  /** CPU time of the server's process per request, in µs; undefined where the system does not tell. */
  readonly cpu: { readonly ours: Figures; readonly peer: Figures } | undefined;
}

interface Round {
  readonly requestsPerSecond: number;
  readonly cpuUs: number | undefined;
}

export interface HttpRatioOptions {
  readonly requests: HttpLoadJob['requests'];
  readonly rounds: number;
  readonly seconds: number;
}

/** Requests per second of one API process and of the bare Fastify peer, in turn, round by round. */
export async function httpRatio(
  server: RedisServer,
  { requests, rounds, seconds }: HttpRatioOptions,
): Promise<HttpComparison> {
  const redis = new Redis(server.url);
  await redis.flushall();
  const api = await startProcess('api/main.js', {
    ...{ REDIS_URL: server.url, WEIR_NAMESPACE: NAMESPACE, PARTITIONS: String(PARTITIONS) },
    // Nobody folds: the backlog must hold a whole round.
    ...{ PORT: '0', HOST: '127.0.0.1', BACKLOG_MAX: '100000000' },
  });
  const peer = await startProcess('loadtest/bench/fastify-peer.js', {}, [server.url]);
  const generator = await startProcess('loadtest/bench/http-load.js', {}, ['serve']);
  const measure = async (target: Started, forSeconds: number): Promise<Round> => {
    if (requests === 'can-message') await writeDocuments(redis);
    const job: HttpLoadJob = { url: target.url, requests, connections: CONNECTIONS, seconds: forSeconds };
    const before = cpuMs(target.pid);
    const load = (await generator.ask(job, (forSeconds + 20) * 1000)) as HttpLoad;
    const after = cpuMs(target.pid);
    await redis.flushall();
    const cpuUs =
      before === undefined || after === undefined ? undefined : ((after - before) * 1000) / load.requests;
    return { requestsPerSecond: load.requestsPerSecond, cpuUs };
  };
  try {
    for (const target of [api, peer]) await measure(target, WARM_UP_SECONDS);
    const results: [ours: Round, peer: Round][] = [];
    for (let round = 0; round < rounds; round += 1) {
      // A B, B A, A B, …: a machine that gets slower or faster favours neither.
      if (round % 2 === 0) results.push([await measure(api, seconds), await measure(peer, seconds)]);
      else {
        const theirs = await measure(peer, seconds);
        results.push([await measure(api, seconds), theirs]);
      }
    }
    return {
      ...compare(results.map(([ours, theirs]) => [ours.requestsPerSecond, theirs.requestsPerSecond])),
      cpu: cpuOf(results),
    };
  } finally {
    for (const started of [generator, api, peer]) await started.stop();
    redis.disconnect();
  }
}

function cpuOf(results: readonly (readonly [ours: Round, peer: Round])[]): HttpComparison['cpu'] {
  if (results.some((round) => round.some(({ cpuUs }) => cpuUs === undefined))) return undefined;
  return {
    ours: figuresOf(results.map(([{ cpuUs }]) => cpuUs!)),
    peer: figuresOf(results.map(([, { cpuUs }]) => cpuUs!)),
  };
}

/** The same document for every user, once where weir looks for it and once where the peer does. */
async function writeDocuments(redis: Redis): Promise<void> {
  const keys = new Keys(NAMESPACE);
  const document = encodeUser(RESTRICTED_USER);
  const pipeline = redis.pipeline();
  for (const user of benchUsers(CONNECTIONS)) {
    const partition = partitionOf(DEFAULT_TENANT, user, PARTITIONS);
    const name = userDocument(DEFAULT_TENANT, user);
    pipeline.set(keys.partition({ topic: 'events', index: partition }).doc(name), document);
    pipeline.set(`peer:user:${user}`, document);
  }
  await pipeline.exec();
}

const EVIDENCE = ['6f1f6f0e-0a52-4a35-9c55-0f0f6c1f8a11', 'b9e0f0a4-6b0e-4b53-8a0e-5d8f2c7a4e02'];

/** Two flags, two cards, a few purchases: restricted by the first. */
const RESTRICTED_USER: UserState = {
  ...NEW_USER,
  known: true,
  profile: {
    scamFlags: 2,
    cards: [
      ['card-1', '10115'],
      ['card-2', '10117'],
    ],
    spend: 3_898_500n,
    chargebacks: 0n,
  },
  recent: { scam_message_rule: EVIDENCE },
  restrictions: [
    {
      rule: 'scam_message_rule',
      version: 1,
      feature: 'message',
      reason: '2 messages flagged as scam',
      evidence: EVIDENCE,
      restrictedAt: 1_760_000_000_000,
      expiresAt: null,
    },
  ],
};
