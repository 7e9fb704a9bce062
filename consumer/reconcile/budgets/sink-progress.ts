import { setTimeout as sleep } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import type { Keys } from '../../../shared/keys.js';
import { compareEntryIds, FIRST_POSITION } from '../../engine/head.js';
import { lastOutboxId } from '../fold-progress.js';

/** Name of BudgetHistory among the sinks. */
const BUDGETS_SINK = 'budgets';
const POLL_MS = 100;

/**
 * How far Postgres has what the partitions of the topic `admissions` have emitted. The sink notes its position after
 * its transaction: what it has noted, every later snapshot of Postgres has.
 */
export class SinkProgress {
  /** Partitions that were waited for in vain: not a second time. */
  private readonly stuck = new Set<number>();

  constructor(
    private readonly redis: Redis,
    private readonly keys: Keys,
    /** How long one wait may take. */
    private readonly patienceMs: number,
    private readonly signal: AbortSignal,
  ) {}

  /**
   * Waits until Postgres has all that the partitions have emitted when this is called, or patience ends.
   * @returns those of which it has
   */
  async reached(partitions: Iterable<number>, waits: boolean): Promise<ReadonlySet<number>> {
    const ends = await Promise.all(
      [...new Set(partitions)].map(async (each) => [each, await this.end(each)] as const),
    );
    const begunAt = performance.now();
    for (;;) {
      this.signal.throwIfAborted();
      const reached = await this.reachedNow(ends);
      const isWorthWaiting = ends.some(([each]) => !reached.has(each) && !this.stuck.has(each));
      if (!waits || !isWorthWaiting) return reached;
      if (performance.now() - begunAt >= this.patienceMs) {
        for (const [each] of ends) if (!reached.has(each)) this.stuck.add(each);
        return reached;
      }
      await sleep(POLL_MS);
    }
  }

  private async reachedNow(ends: readonly (readonly [number, string])[]): Promise<Set<number>> {
    const reached = new Set<number>();
    await Promise.all(
      ends.map(async ([partition, end]) => {
        const { sinks } = this.keys.partition({ topic: 'admissions', index: partition });
        const written = (await this.redis.hget(sinks, BUDGETS_SINK)) ?? FIRST_POSITION;
        if (compareEntryIds(written, end) >= 0) reached.add(partition);
      }),
    );
    return reached;
  }

  private end(index: number): Promise<string> {
    return lastOutboxId(this.redis, this.keys.partition({ topic: 'admissions', index }).outbox);
  }
}
