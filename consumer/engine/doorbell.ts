import type { Redis } from 'ioredis';

/** Beyond the time Redis was asked to block, how long an answer may take before the connection is given up. */
const GUARD_MS = 1000;

/**
 * Tells an idle owner that something arrived: one blocking XREAD on a connection of its own. It takes nothing, so
 * an owner that lost its lease steals nothing. A blocking read can hang after a reconnect, so a timer of ours
 * guards it.
 */
export class Doorbell {
  private redis: Redis | undefined;

  constructor(private readonly connect: () => Redis) {}

  /** Returns when there may be something after `from`, after `blockMs`, or when the connection fails. */
  async wait(stream: string, from: string, blockMs: number): Promise<void> {
    this.redis ??= this.connect();
    const redis = this.redis;
    if (redis.status !== 'ready') {
      await pause(Math.min(blockMs, 100));
      return;
    }
    const guard = setTimeout(() => this.close(), blockMs + GUARD_MS);
    try {
      await redis.xread('COUNT', 1, 'BLOCK', Math.max(1, Math.floor(blockMs)), 'STREAMS', stream, from);
    } catch {
      // A lost connection or a stream of the wrong type: the next fetch will say which, and it is not silent.
      await pause(Math.min(blockMs, 100));
    } finally {
      clearTimeout(guard);
    }
  }

  /** Ends a wait at once. */
  close(): void {
    this.redis?.disconnect();
    this.redis = undefined;
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
