import { Keys } from '../../shared/keys.js';
import { Lifecycle } from '../../shared/lifecycle.js';
import { DistributedLock } from '../../shared/lock/distributed-lock.js';
import { createLogger } from '../../shared/logging.js';
import { connectRedis, whenReady } from '../../shared/redis/connect.js';

export interface ContenderJob {
  readonly url: string;
  readonly namespace: string;
  /** Contenders in this process, each with a connection of its own. */
  readonly contenders: number;
  /** When all of them begin and end, in ms since the epoch: those of another process do so too. */
  readonly from: number;
  readonly to: number;
}

/** From asking for the lock to having it, in ms: one for each time it was acquired and released again. */
export type Waits = readonly number[];

const NAME = 'bench';
const TTL_MS = 10_000;
const RETRY_MS = 2;
const READY_MS = 5000;

process.on('message', (job: ContenderJob) => {
  contend(job).then(
    (result) => process.send!({ type: 'result', result }),
    (error: unknown) => process.send!({ type: 'failed', error: String(error) }),
  );
});
process.on('SIGTERM', () => process.exit(0));
process.on('disconnect', () => process.exit(0));
process.send!({ type: 'listening', url: '' });

async function contend(job: ContenderJob): Promise<Waits> {
  const log = createLogger('bench-lock', 'silent');
  const lifecycle = new Lifecycle(log);
  const connect = async (owner: string) => {
    const redis = connectRedis({ url: job.url, name: owner, log, lifecycle, commandTimeoutMs: 1000 });
    await whenReady(redis, READY_MS);
    return new DistributedLock({ redis, keys: new Keys(job.namespace), owner });
  };
  const locks = await Promise.all(
    Array.from({ length: job.contenders }, (_, i) => connect(`${process.pid}-${i}`)),
  );
  const waits: number[] = [];
  await new Promise((resolve) => setTimeout(resolve, job.from - Date.now()));
  await Promise.all(
    locks.map(async (lock) => {
      while (Date.now() < job.to) {
        const askedAt = performance.now();
        const held = await lock.acquire(NAME, { ttlMs: TTL_MS, waitMs: TTL_MS, retryMs: RETRY_MS });
        waits.push(performance.now() - askedAt);
        await held.release();
      }
    }),
  );
  await lifecycle.close();
  return waits;
}
