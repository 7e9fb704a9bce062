import { randomUUID } from 'node:crypto';
import { percentile } from './figures.js';
import type { ContenderJob, Waits } from './lock-contender.js';
import { startProcess } from './processes.js';
import type { RedisServer } from './redis-server.js';

export const CONTENDERS = [1, 2, 4, 8, 16] as const;
const PROCESSES_MAX = 2;
/** All connections are up by then. */
const BEGIN_IN_MS = 500;

export interface LockContention {
  readonly contenders: number;
  /** Acquired and released again, per second, by all contenders together. */
  readonly perSecond: number;
  /** From asking for the lock to having it. */
  readonly waitMs: { readonly p50: number; readonly p99: number };
}

/**
 * Contenders that do nothing but take one and the same named lock and give it back, each on a connection of its own,
 * in two processes where there are at least two of them.
 */
export async function lockContention(
  { url }: RedisServer,
  contenders: number,
  seconds: number,
): Promise<LockContention> {
  const namespace = `bench-${randomUUID()}`;
  const processes = await Promise.all(
    Array.from({ length: Math.min(PROCESSES_MAX, contenders) }, () =>
      startProcess('loadtest/bench/lock-contender.js', {}),
    ),
  );
  try {
    const from = Date.now() + BEGIN_IN_MS;
    const job = { url, namespace, from, to: from + seconds * 1000 };
    const each = await Promise.all(
      processes.map((contender, index) => {
        const share = Math.floor((contenders + index) / processes.length);
        return contender.ask({ ...job, contenders: share } satisfies ContenderJob, (seconds + 20) * 1000);
      }),
    );
    const waits = (each as Waits[]).flat().sort((a, b) => a - b);
    const waitMs = { p50: percentile(waits, 0.5), p99: percentile(waits, 0.99) };
    return { contenders, perSecond: waits.length / seconds, waitMs };
  } finally {
    await Promise.all(processes.map((contender) => contender.stop()));
  }
}
