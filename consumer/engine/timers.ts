import type { Redis } from 'ioredis';
import type { PartitionKeys } from '../../shared/keys.js';
import type { DueTimer } from '../../shared/messages/message.js';

/** Timers fired per step. */
const TIMERS_PER_STEP_MAX = 500;

export interface DueTimers {
  /** Earliest first; the same order in every replay. */
  readonly due: readonly DueTimer[];
  /** Everything due at or before this is in `due`; later inputs must wait for the next step. */
  readonly completeUntilMs: number;
}

const NONE: DueTimers = { due: [], completeUntilMs: Infinity };

/**
 * The partition's timers. Redis has them all, sorted by due time; the owner, the only writer, remembers when the
 * first is due, so that a partition without due timers costs nothing.
 */
export class Timers {
  constructor(
    private readonly keys: PartitionKeys,
    /** Due time of the earliest timer in ms; Infinity: none. Never later than the truth. */
    private nextDueMs: number,
  ) {}

  get nextMs(): number {
    return this.nextDueMs;
  }

  /** Reads what is due at or before `untilMs`. */
  async load(redis: Redis, untilMs: number): Promise<DueTimers> {
    if (this.nextDueMs > untilMs) return NONE;
    const flat = await redis.zrange(
      this.keys.timers,
      '-inf',
      String(untilMs),
      'BYSCORE',
      'LIMIT',
      0,
      TIMERS_PER_STEP_MAX + 1,
      'WITHSCORES',
    );
    const due: DueTimer[] = [];
    for (let i = 0; i < flat.length; i += 2) due.push({ id: flat[i]!, dueAt: Number(flat[i + 1]) });
    if (due.length > TIMERS_PER_STEP_MAX) {
      const next = due.pop()!;
      return { due, completeUntilMs: next.dueAt - 1 };
    }
    if (due.length === 0) await this.refresh(redis);
    return { due, completeUntilMs: Infinity };
  }

  /** The timers of a step are confirmed: `setMs` the earliest that was set; `fired` whether some were removed. */
  committed(setMs: number, fired: boolean): void {
    // After firing, the earliest is not known without asking; 0 makes the next step ask.
    this.nextDueMs = fired ? 0 : Math.min(this.nextDueMs, setMs);
  }

  /** Asks Redis when the earliest timer is due. */
  async refresh(redis: Redis): Promise<void> {
    const first = await redis.zrange(this.keys.timers, '0', '0', 'WITHSCORES');
    this.nextDueMs = first[1] === undefined ? Infinity : Number(first[1]);
  }
}
