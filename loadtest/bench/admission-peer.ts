import { Redis } from 'ioredis';
import { type ClosedLoop, closedLoop, serveJobs } from './closed-loop.js';

/** What `admission-peer` is asked to do. */
export interface AdmissionPeerJob {
  readonly redisUrl: string;
  readonly inFlight: number;
  readonly seconds: number;
}

/**
 * The peer of (m), as one would write it first: nothing is deduplicated, degraded, reset, recorded or told to anybody,
 * and a hold that expires gives nothing back.
 *
 *   KEYS  1, 2 the levels' use   3 the hold
 *   ARGV  1 tokens   2, 3 the levels' limits   4 how long it is held, in seconds
 */
const SCRIPT = `
local tokens = tonumber(ARGV[1])
for level = 1, 2 do
  local used = tonumber(redis.call('GET', KEYS[level]) or 0)
  if used + tokens > tonumber(ARGV[level + 1]) then
    return level
  end
end
redis.call('INCRBY', KEYS[1], tokens)
redis.call('INCRBY', KEYS[2], tokens)
redis.call('SET', KEYS[3], tokens, 'EX', ARGV[4])
return 0`;

const LIMIT = 1_000_000_000_000;
const HOLD_SECONDS = 3600;
/** Of this process: every hold is a new one. */
let lastHold = 0;

async function run({ redisUrl, inFlight, seconds }: AdmissionPeerJob): Promise<ClosedLoop> {
  // As fast as the driver goes by itself: one call alone would only wait for others to join it.
  const redis = new Redis(redisUrl, { enableAutoPipelining: inFlight > 1, protocol: 2 });
  const sha = (await redis.script('LOAD', SCRIPT)) as string;
  const result = await closedLoop(inFlight, seconds, async () => {
    lastHold += 1;
    const hold = `peer:{budget}:hold:${lastHold}`;
    const refusedBy = await redis.evalsha(
      ...([sha, 3, 'peer:{budget}:global', 'peer:{budget}:ranking', hold] as const),
      ...([100, LIMIT, LIMIT, HOLD_SECONDS] as const),
    );
    if (refusedBy !== 0) throw new Error(`refused by level ${String(refusedBy)}`);
  });
  redis.disconnect();
  return result;
}

serveJobs(run);
