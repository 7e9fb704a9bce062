import type { Redis } from 'ioredis';
import type { RawEntry } from '../../shared/messages/record-batch.js';

/** Beyond the time Redis was asked to block, how long an answer may take before the connection is given up. */
const GUARD_MS = 1000;

/**
 * Tells an idle owner that something arrived, and hands over the first of it: one blocking XREAD on a connection of its
 * own. It takes nothing from anybody, so an owner that lost its lease steals nothing; what it folds of it is fenced when
 * it is committed. A blocking read can hang after a reconnect, so a timer of ours guards it.
 */
export class Doorbell {
  private redis: Redis | undefined;

  constructor(private readonly connect: () => Redis) {}

  /**
   * Returns the first entry after `from` when there is one; nothing after `blockMs`, or when the connection fails: there
   * may be something all the same.
   */
  async wait(stream: string, from: string, blockMs: number): Promise<readonly RawEntry[]> {
    this.redis ??= this.connect();
    const redis = this.redis;
    if (redis.status !== 'ready') {
      await pause(Math.min(blockMs, 100));
      return [];
    }
    const guard = setTimeout(() => this.close(), blockMs + GUARD_MS);
    try {
      const blocks = Math.max(1, Math.floor(blockMs));
      const reply = await redis.xread('COUNT', 1, 'BLOCK', blocks, 'STREAMS', stream, from);
      return reply?.[0]?.[1] ?? [];
    } catch {
      // A lost connection or a stream of the wrong type: the next fetch will say which, and it is not silent.
      await pause(Math.min(blockMs, 100));
      return [];
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
