import type { Redis } from 'ioredis';
import { isTransient } from '../redis/errors.js';
import { Script } from '../redis/script.js';
import { LockLost } from './lock-errors.js';

const renewScript = new Script(import.meta.url, 'lock-renew.lua');
const releaseScript = new Script(import.meta.url, 'lock-release.lua');

/** A holder believes in its lock for this share of the TTL, counted from before it asked for it. */
const BELIEF_SHARE = 0.9;
/** Renewals begin this often within a TTL. */
const RENEWALS_PER_TTL = 3;
/** A renewal that failed because Redis was away is sent again after this share of the TTL. */
const RETRIES_PER_TTL = 20;
/** Longer than this nobody waits for Redis to give up a lock: the lease runs out by itself. */
const RELEASE_MS_MAX = 1000;
const RELEASE_RETRY_MS = 50;

export interface Acquired {
  readonly redis: Redis;
  readonly name: string;
  /** Key of the lease. */
  readonly lease: string;
  readonly nonce: string;
  readonly fencingToken: number;
  readonly ttlMs: number;
  /** `performance.now()` before the request that got the lock was sent. */
  readonly askedAt: number;
  readonly onEnd: (heldMs: number, lost: boolean) => void;
}

/**
 * A named lock that is ours, for as long as `signal` is not aborted. It renews itself until it is released.
 *
 *           renewed in time               release()
 *          ┌───────┐      ┌──────────────────────────► released
 *          ▼       │      │
 *   held ──┴───────┴──────┤
 *                         └──────────────────────────► lost (signal aborted)
 *                           not mine, or not renewed in time
 *
 * "In time" is measured here with a clock that never jumps, from before each request was sent, and is less than the
 * TTL: the holder gives up before Redis gives the lock to somebody else. That holds while this process runs; one that
 * was stopped (SIGSTOP, a sleeping machine, a long garbage collection) learns of it only afterwards. Against its last
 * write there is the fencing token.
 */
export class HeldLock {
  private readonly abort = new AbortController();
  private readonly beganAt: number;
  private believedUntil: number;
  private renewal: NodeJS.Timeout | undefined;
  private expiry: NodeJS.Timeout | undefined;
  private state: 'held' | 'lost' | 'released' = 'held';
  private releasing: Promise<void> | undefined;

  constructor(private readonly acquired: Acquired) {
    this.beganAt = performance.now();
    this.believedUntil = believedUntil(acquired.askedAt, acquired.ttlMs);
    this.watchExpiry();
    this.renewIn(acquired.ttlMs / RENEWALS_PER_TTL);
  }

  /**
   * Greater than that of every earlier holder, for the resource to compare: see docs/locks.md. Only a Redis that
   * forgot an increment (a failover, a restored backup) can give one out twice.
   */
  get fencingToken(): number {
    return this.acquired.fencingToken;
  }

  /** Aborted, with a `LockLost` as its reason, once the lock is lost; not by `release`. */
  get signal(): AbortSignal {
    return this.abort.signal;
  }

  /** How long the lock is certainly ours if no renewal succeeds any more, in ms; 0 when it is lost or released. */
  get remainingMs(): number {
    return this.state === 'held' ? Math.max(0, this.believedUntil - performance.now()) : 0;
  }

  /**
   * Gives the lock up, if it is still ours. Again and again is allowed. While Redis is away it tries for a second;
   * then the lease has to run out by itself. @throws what Redis says when that is no passing failure
   */
  release(): Promise<void> {
    this.releasing ??= this.giveUp();
    return this.releasing;
  }

  private async giveUp(): Promise<void> {
    const wasHeld = this.state === 'held';
    this.state = 'released';
    this.stopTimers();
    const wasMine = await this.deleteLease();
    // What was believed to be held until now may have been somebody else's for a moment.
    if (wasHeld) this.acquired.onEnd(performance.now() - this.beganAt, wasMine === false);
  }

  /** @returns undefined when Redis could not be asked */
  private async deleteLease(): Promise<boolean | undefined> {
    const { redis, lease, nonce } = this.acquired;
    const deadline = performance.now() + RELEASE_MS_MAX;
    for (let isFirst = true; ; isFirst = false) {
      try {
        // After a first try that got no answer, "not mine" may be its doing.
        return (await releaseScript.run(redis, [lease], [nonce])) === 1 || !isFirst;
      } catch (error) {
        if (!isTransient(error)) throw error;
      }
      if (performance.now() > deadline) return undefined;
      await new Promise((resolve) => setTimeout(resolve, RELEASE_RETRY_MS));
    }
  }

  private async renew(): Promise<void> {
    const { redis, lease, nonce, ttlMs, name } = this.acquired;
    const askedAt = performance.now();
    // The timers of a process that stood still run late, and in any order.
    if (askedAt >= this.believedUntil) return this.lose(new LockLost(name, 'it was not renewed in time'));
    try {
      const isMine = (await renewScript.run(redis, [lease], [nonce, ttlMs])) === 1;
      if (this.state !== 'held') return;
      if (!isMine) return this.lose(new LockLost(name, 'somebody else holds it, or nobody'));
      this.believedUntil = believedUntil(askedAt, ttlMs);
      this.watchExpiry();
      this.renewIn(ttlMs / RENEWALS_PER_TTL);
    } catch (error) {
      if (this.state !== 'held') return;
      if (isTransient(error)) this.renewIn(ttlMs / RETRIES_PER_TTL);
      else this.lose(new LockLost(name, 'it cannot be renewed', error));
    }
  }

  private renewIn(ms: number): void {
    this.renewal = setTimeout(() => void this.renew(), ms);
  }

  private watchExpiry(): void {
    clearTimeout(this.expiry);
    const { name } = this.acquired;
    const lose = () => this.lose(new LockLost(name, 'it was not renewed in time'));
    this.expiry = setTimeout(lose, Math.max(0, this.believedUntil - performance.now()));
  }

  /** What is left of the TTL in Redis is left to run out: time for the holder to notice. */
  private lose(reason: LockLost): void {
    if (this.state !== 'held') return;
    this.state = 'lost';
    this.stopTimers();
    this.acquired.onEnd(performance.now() - this.beganAt, true);
    this.abort.abort(reason);
  }

  private stopTimers(): void {
    clearTimeout(this.renewal);
    clearTimeout(this.expiry);
  }
}

/** Up to when a holder that asked at `askedAt` and was told yes may believe it, by `performance.now()`. */
export function believedUntil(askedAt: number, ttlMs: number): number {
  return askedAt + ttlMs * BELIEF_SHARE;
}

/** For a lock of which is not known whether it was taken. Once, and it does not matter whether it works. */
export async function releaseQuietly(redis: Redis, lease: string, nonce: string): Promise<void> {
  await releaseScript.run(redis, [lease], [nonce]).catch(() => undefined);
}
