import { randomUUID } from 'node:crypto';
import { Redis } from 'ioredis';
import { ADMISSION_SETTINGS, putHugeBudgets, TENANT } from './admission-budget.js';
import type { AdmissionLoadJob } from './admission-load.js';
import type { AdmissionPeerJob } from './admission-peer.js';
import type { ClosedLoop } from './closed-loop.js';
import { PARTITIONS } from './fill-streams.js';
import { cpuMs, type Started, startProcess } from './processes.js';
import { emptyRedis, type RedisServer } from './redis-server.js';
import { whenReady } from './when-ready.js';

/** Requests in flight. */
export const IN_FLIGHT = [1, 64, 256] as const;
const WARM_UP_IN_FLIGHT = 64;
/** As long as it takes until machine code is made of all that is measured. */
const WARM_UP_SECONDS = 6;
const DEADLINE_MS = 30_000;

/** Ours, or the peer, at one number in flight. */
export interface AtOnce extends ClosedLoop {
  /** CPU time per decision in µs, by process; NaN where the system does not tell. */
  readonly cpuMicros: Readonly<Record<string, number>>;
}

export interface LatencyRound {
  /** By place in IN_FLIGHT. */
  readonly ours: readonly AtOnce[];
  readonly peer: readonly AtOnce[];
  /** GET /health of the same API, one at a time. */
  readonly health: ClosedLoop;
}

export interface LatencyOptions {
  /** Of an empty database: the ledger goes on into Postgres meanwhile, as with `npm start`. */
  readonly databaseUrl: string;
  readonly seconds: number;
  readonly peerFirst: boolean;
}

/**
 * One round: POST /admissions of one tenant through one API process, the stream, one worker and back; in turn with the
 * peer, one script called directly.
 */
export async function admissionLatency(
  server: RedisServer,
  { databaseUrl, seconds, peerFirst }: LatencyOptions,
): Promise<LatencyRound> {
  const redis = new Redis(server.url);
  const environment = {
    ...{ REDIS_URL: server.url, WEIR_NAMESPACE: `bench-${randomUUID()}`, PARTITIONS: String(PARTITIONS) },
    ...{ PORT: '0', HOST: '127.0.0.1', OPS_PORT: '0', ...ADMISSION_SETTINGS, DATABASE_URL: databaseUrl },
  };
  const started: Started[] = [];
  const start = async (module: string): Promise<Started> => {
    const each = await startProcess(module, environment);
    started.push(each);
    return each;
  };
  try {
    await emptyRedis(redis);
    const api = await start('api/main.js');
    const worker = await start('consumer/main.js');
    const generator = await start('loadtest/bench/admission-load.js');
    const direct = await start('loadtest/bench/admission-peer.js');
    await whenReady(api.url);
    await putHugeBudgets(api.url);
    const ask = (requests: AdmissionLoadJob['requests'], inFlight: number, forSeconds: number) => {
      const job: AdmissionLoadJob = { url: api.url, requests, tenant: TENANT, inFlight, seconds: forSeconds };
      return generator.ask(job, DEADLINE_MS + forSeconds * 1000) as Promise<ClosedLoop>;
    };
    const askPeer = (inFlight: number, forSeconds: number) => {
      const job: AdmissionPeerJob = { redisUrl: server.url, inFlight, seconds: forSeconds };
      return direct.ask(job, DEADLINE_MS + forSeconds * 1000) as Promise<ClosedLoop>;
    };
    await ask('admit', WARM_UP_IN_FLIGHT, WARM_UP_SECONDS);
    await askPeer(WARM_UP_IN_FLIGHT, WARM_UP_SECONDS);
    const pids = { api: api.pid, worker: worker.pid, redis: server.pid, generator: generator.pid };
    const peerPids = { caller: direct.pid, redis: server.pid };
    const measureOurs = (inFlight: number) => withCpu(pids, () => ask('admit', inFlight, seconds));
    const measurePeer = (inFlight: number) => withCpu(peerPids, () => askPeer(inFlight, seconds));
    const ours: AtOnce[] = [];
    const peer: AtOnce[] = [];
    for (const inFlight of IN_FLIGHT) {
      if (peerFirst) peer.push(await measurePeer(inFlight));
      ours.push(await measureOurs(inFlight));
      if (!peerFirst) peer.push(await measurePeer(inFlight));
    }
    return { ours, peer, health: await ask('health', 1, seconds) };
  } finally {
    for (const each of started.reverse()) await each.stop();
    await emptyRedis(redis);
    redis.disconnect();
  }
}

async function withCpu(
  pids: Readonly<Record<string, number>>,
  measure: () => Promise<ClosedLoop>,
): Promise<AtOnce> {
  const read = () => Object.entries(pids).map(([name, pid]) => [name, cpuMs(pid) ?? Number.NaN] as const);
  const before = new Map(read());
  const result = await measure();
  const each = read().map(([name, ms]) => [name, ((ms - before.get(name)!) * 1000) / result.calls] as const);
  return { ...result, cpuMicros: Object.fromEntries(each) };
}
