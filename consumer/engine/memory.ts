import type { Partition } from '../../shared/topics.js';

/** What somebody outside of Redis remembers of a partition. */
export interface Recalled {
  /** What it is, only the processor knows. */
  readonly what: unknown;
  /** The partition had a past: Redis has lost it. */
  readonly isLoss: boolean;
}

/** Asked before a partition that was never committed begins: whether it is new, only others can tell. */
export interface Memory {
  /** @returns undefined: nothing, the partition is new. @throws while it cannot say */
  recall(partition: Partition): Promise<Recalled | undefined>;
}
