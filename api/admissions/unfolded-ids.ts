import type { Redis } from 'ioredis';
import { classifyRedisError } from '../../shared/redis/store-unavailable.js';
import type { Slot } from '../slots.js';

/**
 * Ids that were given to callers while nobody decided, until the workers are known to have folded what was reported
 * about them. Bounded: beyond it the oldest are forgotten.
 */
export class UnfoldedIds {
  /** By name: messages that the partition had when the id was first asked for after its report; undefined: it was not. */
  private readonly marks = new Map<string, number | undefined>();

  constructor(
    private readonly redis: Redis,
    private readonly idsMax: number,
  ) {}

  add(name: string): void {
    this.marks.set(name, undefined);
    if (this.marks.size <= this.idsMax) return;
    const [oldest] = this.marks.keys();
    this.marks.delete(oldest!);
  }

  get isEmpty(): boolean {
    return this.marks.size === 0;
  }

  delete(name: string): void {
    this.marks.delete(name);
  }

  has(name: string): boolean {
    return this.marks.has(name);
  }

  /**
   * Whether the report about this id may still wait for a worker. To be asked before the workers' documents are read.
   * @param slot of the id; its report is in the stream
   * @throws StoreUnavailable
   */
  async mayBeUnfolded(name: string, { keys }: Slot): Promise<boolean> {
    if (!this.marks.has(name)) return false;
    const [appended, folded] = await Promise.all([
      this.redis.get(keys.appended),
      this.redis.hget(keys.head, 'folded'),
    ]).catch((error: unknown) => {
      throw classifyRedisError(error);
    });
    const mark = this.marks.get(name) ?? Number(appended);
    // More were there than are now: Redis has lost what it had, and the report with it.
    if (Number(folded) >= mark || Number(appended) < mark) {
      this.marks.delete(name);
      return false;
    }
    if (this.marks.has(name)) this.marks.set(name, mark);
    return true;
  }
}
