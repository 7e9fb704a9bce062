import type { PartitionKeys } from '../../shared/keys.js';
import type { Logger } from '../../shared/logging.js';
import { Script } from '../../shared/redis/script.js';
import { type Partition, partitionName, type Topic } from '../../shared/topics.js';
import { Drain } from './drain.js';
import type { Engine } from './engine.js';
import { FIRST_POSITION } from './head.js';
import { UnknownEntryError } from './unknown-entry-error.js';

const acknowledgeScript = new Script(import.meta.url, 'acknowledge.lua');

const ENTRIES_PER_WRITE = 500;
const POLL_MS = 1000;
/** Of a delayed sink, whose entries may be many joined ones each. */
const DELAYED_ENTRIES_PER_WRITE = 100;
const DELAYED_POLL_MS_MIN = 20;

export interface OutboxEntry {
  /** Position in the outbox: with the partition it identifies the entry, for idempotent writes. */
  readonly id: string;
  readonly type: string;
  readonly body: unknown;
  /** Absent: 1. */
  readonly version?: number;
}

/** Of the entries that this version writes: none says it yet. */
const OUTBOX_ENTRY_VERSION = 1;

/** Where outbox entries go. */
export interface Sink {
  readonly name: string;
  /** Whose outboxes it takes. */
  readonly topic: Topic;
  /** Gets nothing younger than ARCHIVE_DELAY_MS: it must never know what Redis may forget. */
  readonly delayed?: boolean;
  /** Whether it can carry this on. It is given nothing else: the outbox waits for a worker that can. */
  knows(entry: OutboxEntry): boolean;
  /** Writes entries in order. At least once: after a crash the same entries come again. @throws to be called again */
  write(partition: string, entries: readonly OutboxEntry[]): Promise<void>;
}

export interface OutboxDrainOptions {
  readonly engine: Engine;
  readonly partition: Partition;
  readonly keys: PartitionKeys;
  /** Value of the lease: what is written is noted only while it is held. */
  readonly lease: string;
  readonly log: Logger;
  readonly sink: Sink;
}

/**
 * Carries the outbox of one owned partition to one sink, in order and at least once: the position is noted after
 * the write, and only while the lease is held.
 */
export class OutboxDrain extends Drain {
  private position = '';

  constructor(private readonly options: OutboxDrainOptions) {
    const { sink, log, engine } = options;
    const quarter = engine.settings.archiveDelayMs / 4;
    super(
      sink.name,
      log,
      sink.delayed === true ? Math.max(DELAYED_POLL_MS_MIN, Math.min(POLL_MS, quarter)) : POLL_MS,
      (stops) => engine.metrics.sinkStops(partitionName(options.partition), stops),
    );
  }

  override wake(): void {
    // What is new is not old enough for a delayed sink: it looks by itself.
    if (this.options.sink.delayed !== true) super.wake();
  }

  protected async drain(): Promise<void> {
    const { engine, keys, sink, partition } = this.options;
    if (this.position === '') {
      this.position = (await this.retry(() => engine.redis.hget(keys.sinks, sink.name))) ?? FIRST_POSITION;
    }
    const delayed = sink.delayed === true;
    const count = delayed ? DELAYED_ENTRIES_PER_WRITE : ENTRIES_PER_WRITE;
    while (!this.stopped) {
      const until = delayed ? await this.oldEnough() : '+';
      const raw = await this.retry(() =>
        engine.redis.xrange(keys.outbox, `(${this.position}`, until, 'COUNT', count),
      );
      const entries = raw.map(readOutboxEntry);
      const unknown = entries.find((entry) => isNewer(entry) || !sink.knows(entry));
      const known = unknown === undefined ? entries : entries.slice(0, entries.indexOf(unknown));
      const last = known.at(-1);
      if (last !== undefined) {
        await sink.write(partitionName(partition), known);
        if (!(await this.acknowledge(last.id))) {
          this.stop();
          return;
        }
        this.position = last.id;
      }
      if (unknown !== undefined) throw new UnknownEntryError(unknown);
      if (last === undefined) return;
      // A delayed sink waits for more: a transaction for every few entries would cost more than they do.
      if (delayed && raw.length < count) return;
    }
  }

  /** The last id that a delayed sink may see. */
  private async oldEnough(): Promise<string> {
    const { redis, settings } = this.options.engine;
    const [seconds, micros] = await this.retry(() => redis.time());
    return String(Number(seconds) * 1000 + Math.floor(Number(micros) / 1000) - settings.archiveDelayMs);
  }

  private async acknowledge(id: string): Promise<boolean> {
    const { engine, keys, lease, sink } = this.options;
    const reply = await this.retry(() =>
      acknowledgeScript.run(engine.redis, [keys.lease, keys.sinks], [lease, sink.name, id]),
    );
    return reply === 1;
  }
}

/** `type <type> body <JSON>`; a version that differs adds `v <version>`, and may have another body. */
export function readOutboxEntry([id, fields]: [id: string, fields: string[]]): OutboxEntry {
  const [, type = '', , body = 'null', , version] = fields;
  if (version !== undefined && version !== String(OUTBOX_ENTRY_VERSION)) {
    return { id, type, body: null, version: Number(version) };
  }
  return { id, type, body: JSON.parse(body) };
}

/** Also where the version is no number. */
export function isNewer({ version = OUTBOX_ENTRY_VERSION }: OutboxEntry): boolean {
  return version !== OUTBOX_ENTRY_VERSION;
}
