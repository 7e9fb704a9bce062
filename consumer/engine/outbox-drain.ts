import type { Redis } from 'ioredis';
import type { PartitionKeys } from '../../shared/keys.js';
import type { Logger } from '../../shared/logging.js';
import { Script } from '../../shared/redis/script.js';
import type { Topic } from '../../shared/topics.js';
import { Drain } from './drain.js';
import { FIRST_POSITION } from './head.js';

const acknowledgeScript = new Script(import.meta.url, 'acknowledge.lua');

const ENTRIES_PER_WRITE = 500;
const POLL_MS = 1000;

export interface OutboxEntry {
  /** Position in the outbox: with the partition it identifies the entry, for idempotent writes. */
  readonly id: string;
  readonly type: string;
  readonly body: unknown;
}

/** Where outbox entries go. */
export interface Sink {
  readonly name: string;
  /** Whose outboxes it takes. */
  readonly topic: Topic;
  /** Writes entries in order. At least once: after a crash the same entries come again. @throws to be called again */
  write(partition: string, entries: readonly OutboxEntry[]): Promise<void>;
}

/**
 * Carries the outbox of one owned partition to one sink, in order and at least once: the position is noted after
 * the write, and only while the lease is held.
 */
export class OutboxDrain extends Drain {
  private position = '';

  constructor(
    private readonly redis: Redis,
    private readonly keys: PartitionKeys,
    private readonly partition: string,
    private readonly lease: string,
    private readonly sink: Sink,
    log: Logger,
  ) {
    super(sink.name, log, POLL_MS);
  }

  protected async drain(): Promise<void> {
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
      await this.sink.write(this.partition, raw.map(readOutboxEntry));
      if (!(await this.acknowledge(last[0]))) {
        this.stop();
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
}

export function readOutboxEntry([id, fields]: [id: string, fields: string[]]): OutboxEntry {
  const [, type = '', , body = 'null'] = fields;
  return { id, type, body: JSON.parse(body) };
}
