import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import type { Keys } from '../keys.js';
import { isTransient } from '../redis/errors.js';
import { Script } from '../redis/script.js';
import { believedUntil, HeldLock, releaseQuietly } from './held-lock.js';
import { LockTimeout } from './lock-errors.js';
import type { LockMetrics } from './lock-metrics.js';
import { retryDelayMs } from './retry-delay.js';

const acquireScript = new Script(import.meta.url, 'lock-acquire.lua');

export interface DistributedLockOptions {
  /** Its commands must fail while Redis is away, not wait (`connectRedis` with a command timeout). */
  readonly redis: Redis;
  readonly keys: Keys;
  /** Who asks, for whoever looks at the key in Redis. */
  readonly owner: string;
  readonly metrics?: LockMetrics;
}

export interface AcquireOptions {
  /** After this many ms without a renewal the lock is free. A holder renews it every third of that. */
  readonly ttlMs: number;
  /** How long to wait for the lock, in ms; 0: one try. */
  readonly waitMs: number;
  /** A first idea of how long to wait between two tries, in ms; it doubles, up to sixteen times that. */
  readonly retryMs: number;
  /** Ends the wait early. */
  readonly signal?: AbortSignal;
}

/**
 * Named locks of the fleet: at most one process holds a name at a time, as long as Redis keeps what it was told and
 * holders heed `signal`. The protocol is that of the engine's leases: `SET PX` of `<owner>:<fencing token>:<nonce>`,
 * renewed while held, released only by its holder.
 *
 * Who waits longest does not come first: waiters ask at random times. Nothing is promised of fairness.
 * What is exact, and what is not when Redis fails over: docs/locks.md.
 */
export class DistributedLock {
  constructor(private readonly options: DistributedLockOptions) {}

  /** Makes the metrics of a lock that will be asked for exist at 0. */
  expect(name: string): void {
    this.options.metrics?.expect(name);
  }

  /**
   * @throws LockTimeout when it is not free within `waitMs`; the reason of `signal` when that is aborted; what Redis
   *   says when that is no passing failure
   */
  async acquire(name: string, options: AcquireOptions): Promise<HeldLock> {
    const { redis, keys, owner, metrics } = this.options;
    const { lease, fence } = keys.lock(name);
    const { ttlMs, waitMs, retryMs, signal } = options;
    const nonce = randomBytes(12).toString('hex');
    const beganAt = performance.now();
    // Whether Redis may hold a lease of ours that we do not count on.
    let mayHold = false;
    try {
      for (let attempt = 0; ; attempt += 1) {
        signal?.throwIfAborted();
        const askedAt = performance.now();
        const answer = await this.ask([lease, fence], [owner, nonce, ttlMs]);
        mayHold = answer.kind !== 'held';
        if (answer.kind === 'acquired' && performance.now() < believedUntil(askedAt, ttlMs)) {
          metrics?.acquired(name, performance.now() - beganAt);
          const onEnd = (heldMs: number, lost: boolean) => metrics?.ended(name, heldMs, lost);
          return new HeldLock({ redis, name, lease, nonce, ttlMs, askedAt, onEnd, ...answer });
        }
        if (attempt === 0) metrics?.contended(name);
        const waitedMs = performance.now() - beganAt;
        if (waitedMs >= waitMs) {
          metrics?.timedOut(name);
          throw new LockTimeout(name, waitedMs, answer.kind === 'away' ? answer.error : undefined);
        }
        const remainingMs = answer.kind === 'held' ? answer.remainingMs : Infinity;
        const delayMs = Math.min(retryDelayMs({ attempt, retryMs, remainingMs }), waitMs - waitedMs);
        // Never rejects but for the signal, which is looked at above.
        await sleep(delayMs, undefined, signal === undefined ? {} : { signal }).catch(() => undefined);
      }
    } catch (error) {
      if (mayHold) void releaseQuietly(redis, lease, nonce);
      throw error;
    }
  }

  /**
   * Does `work` while holding the lock, and releases it however that ends. `work` must stop when `signal` is aborted.
   * @throws what `acquire` and `work` throw; LockLost when the lock was lost before `work` ended
   */
  async run<T>(
    name: string,
    options: AcquireOptions,
    work: (signal: AbortSignal, fencingToken: number) => Promise<T>,
  ): Promise<T> {
    const held = await this.acquire(name, options);
    try {
      const result = await work(held.signal, held.fencingToken);
      held.signal.throwIfAborted();
      return result;
    } finally {
      await held.release();
    }
  }

  private async ask(keys: readonly string[], args: readonly (string | number)[]): Promise<Answer> {
    try {
      const [taken, value] = (await acquireScript.run(this.options.redis, keys, args)) as [number, number];
      if (taken === 1) return { kind: 'acquired', fencingToken: value };
      // Less than 0: a lease without a TTL, which is none of ours.
      return { kind: 'held', remainingMs: value < 0 ? Infinity : value };
    } catch (error) {
      if (!isTransient(error)) throw error;
      return { kind: 'away', error };
    }
  }
}

type Answer =
  | { readonly kind: 'acquired'; readonly fencingToken: number }
  | { readonly kind: 'held'; readonly remainingMs: number }
  | { readonly kind: 'away'; readonly error: unknown };
