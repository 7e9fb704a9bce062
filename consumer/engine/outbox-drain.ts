import type { Redis } from 'ioredis';
import type { PartitionKeys } from '../../shared/keys.js';
import type { Logger } from '../../shared/logging.js';
import { Script } from '../../shared/redis/script.js';
import { FIRST_POSITION } from './head.js';
import { GaveUpError, retryWhileAway } from './retry.js';

const acknowledgeScript = new Script(import.meta.url, 'acknowledge.lua');

const ENTRIES_PER_WRITE = 500;
const POLL_MS = 1000;
const RETRY_MS_MAX = 5000;

export interface OutboxEntry {
  /** Position in the outbox: with the partition it identifies the entry, for idempotent writes. */
  readonly id: string;
  readonly type: string;
  readonly body: unknown;
}

/** Where outbox entries go. */
export interface Sink {
  readonly name: string;
  /** Writes entries in order. At least once: after a crash the same entries come again. @throws to be called again */
  write(partition: string, entries: readonly OutboxEntry[]): Promise<void>;
}

/**
 * Carries the outbox of one owned partition to one sink, in order and at least once: the position is noted after
 * the write, and only while the lease is held.
 */
export class OutboxDrain {
  private position = '';
  private stopped = false;
  private wakeUp: (() => void) | undefined;
  private pendingWake = true;
  private wakes = false;

  constructor(
    private readonly redis: Redis,
    private readonly keys: PartitionKeys,
    private readonly partition: string,
    private readonly lease: string,
    private readonly sink: Sink,
    private readonly log: Logger,
  ) {}

  /** Something was appended. */
  wake(): void {
    this.pendingWake = true;
    if (this.wakes) this.wakeUp?.();
  }

  stop(): void {
    this.stopped = true;
    this.wakeUp?.();
  }

  /** Runs until stopped or fenced; never throws. */
  async run(): Promise<void> {
    for (let retryMs = 100; !this.stopped; ) {
      try {
        await this.drain();
        retryMs = 100;
        await this.sleep(POLL_MS);
      } catch (error) {
        if (error instanceof GaveUpError) return;
        this.log.error({ err: error, sink: this.sink.name }, 'sink failed; it will be tried again');
        await this.pause(retryMs);
        retryMs = Math.min(retryMs * 2, RETRY_MS_MAX);
      }
    }
  }

  /** Writes everything there is. */
  private async drain(): Promise<void> {
    this.pendingWake = false;
    if (this.position === '') {
      this.position =
        (await this.retry(() => this.redis.hget(this.keys.sinks, this.sink.name))) ?? FIRST_POSITION;
    }
    while (!this.stopped) {
      const raw = await this.retry(() =>
        this.redis.xrange(this.keys.outbox, `(${this.position}`, '+', 'COUNT', ENTRIES_PER_WRITE),
      );
      const last = raw.at(-1);
      if (last === undefined) return;
      await this.sink.write(this.partition, raw.map(readEntry));
      if (!(await this.acknowledge(last[0]))) {
        this.stopped = true;
        return;
      }
      this.position = last[0];
    }
  }

  private async acknowledge(id: string): Promise<boolean> {
    const { keys, lease, sink } = this;
    const reply = await this.retry(() =>
      acknowledgeScript.run(this.redis, [keys.lease, keys.sinks], [lease, sink.name, id]),
    );
    return reply === 1;
  }

  /** Until something is appended, at most `ms`. */
  private sleep(ms: number): Promise<void> {
    return this.pendingWake ? Promise.resolve() : this.pause(ms, true);
  }

  /** @param wakes whether something new in the outbox ends it; after a failure it must not */
  private pause(ms: number, wakes = false): Promise<void> {
    if (this.stopped) return Promise.resolve();
    this.wakes = wakes;
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        this.wakeUp = undefined;
        resolve();
      };
      const timer = setTimeout(done, ms);
      this.wakeUp = done;
    });
  }

  private retry<T>(operation: () => Promise<T>): Promise<T> {
    return retryWhileAway(operation, () => !this.stopped);
  }
}

function readEntry([id, fields]: [id: string, fields: string[]]): OutboxEntry {
  const [, type = '', , body = 'null'] = fields;
  return { id, type, body: JSON.parse(body) };
}
