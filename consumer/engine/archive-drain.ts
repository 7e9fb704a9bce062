import { setImmediate } from 'node:timers/promises';
import { ARCHIVE, type PartitionKeys } from '../../shared/keys.js';
import type { Logger } from '../../shared/logging.js';
import { decodeEntry, recordBatchVersion } from '../../shared/messages/record-batch.js';
import { ARCHIVED, type ArchivedData } from '../../shared/messages/usage.js';
import { VERDICTS, type Verdicts } from '../../shared/messages/verdicts.js';
import type { WindowEmission } from '../../shared/messages/window-emission.js';
import { type RedisArgument, Script } from '../../shared/redis/script.js';
import { type Partition, partitionName } from '../../shared/topics.js';
import type { Archive, ArchiveBatch, ArchivedWindow, RefusedEvent } from './archive.js';
import type { DeadLetterNews } from './complaints.js';
import { Drain } from './drain.js';
import type { Engine } from './engine.js';
import { NewerEntryError } from './entry-buffer.js';
import { FIRST_POSITION } from './head.js';
import { judge, type StreamEntry } from './judge.js';
import { isNewer, type OutboxEntry, readOutboxEntry } from './outbox-drain.js';
import { GaveUpError } from './retry.js';
import { UnknownEntryError } from './unknown-entry-error.js';

const acknowledgeScript = new Script(import.meta.url, 'acknowledge-archive.lua');

/** Outbox entries of one batch. */
const OUTBOX_ENTRIES_MAX = 500;
/** Outbox entries per read, and text after which no more are read for this batch: a window can have 300 kB. */
const OUTBOX_ENTRIES_PER_READ = 32;
const OUTBOX_TEXT_MAX = 4 * 1024 * 1024;
/** Type of the outbox entry of a window. */
const WINDOW = 'window';
/** Stream entries per read: with the largest record batches 4 MiB. */
const ENTRIES_PER_READ = 16;
const POLL_MS_MAX = 500;
const POLL_MS_MIN = 20;

export interface ArchiveDrainOptions {
  readonly engine: Engine;
  readonly partition: Partition;
  readonly keys: PartitionKeys;
  readonly lease: string;
  readonly archive: Archive;
  readonly log: Logger;
}

/** An outbox entry of type `verdicts`. */
interface OutboxVerdicts {
  readonly outbox: string;
  readonly verdicts: Verdicts;
}

/**
 * Carries one owned partition to the archive: the messages of its stream with the verdicts of the fold, and the
 * windows of its outbox, in the order of the outbox and at least once.
 *
 *   outbox (older than the delay) ─▶ verdicts ─▶ their messages from the stream ─▶ archive.write ─▶ acknowledge
 *
 * Nothing younger than `archiveDelayMs` is taken, so that the archive never knows what Redis may still forget. The
 * acknowledgement frees the stream to be trimmed, and tells the fold (by a message of its own) which windows it
 * may let go.
 */
export class ArchiveDrain extends Drain {
  private position: string | undefined;
  private streamPosition = FIRST_POSITION;

  constructor(private readonly options: ArchiveDrainOptions) {
    const { archiveDelayMs } = options.engine.settings;
    const pollMs = Math.max(POLL_MS_MIN, Math.min(POLL_MS_MAX, archiveDelayMs / 4));
    const { metrics } = options.engine;
    super(ARCHIVE, options.log, pollMs, (stops) => {
      metrics.sinkStops(partitionName(options.partition), stops);
    });
  }

  /** New entries are not old enough yet: it looks by itself. */
  override wake(): void {}

  protected override failed(): void {
    this.position = undefined;
  }

  protected async drain(): Promise<void> {
    this.position ??= await this.readPosition();
    while (!this.stopped) {
      const { entries, more } = await this.readOutbox(this.position);
      if (entries.length === 0) return;
      const { batch, bytes } = await this.batchOf(entries, this.position);
      const refused = await this.options.archive.write(batch);
      if (!(await this.acknowledge(batch, bytes, refused))) {
        this.stop();
        return;
      }
      this.position = batch.to;
      this.streamPosition = batch.position;
      // That was all: wait for more, a transaction for every few rows would cost more than they do.
      if (!more) return;
    }
  }

  private async readPosition(): Promise<string> {
    const { engine, keys } = this.options;
    const [outbox, stream] = await this.retry(() =>
      engine.redis.hmget(keys.sinks, ARCHIVE, `${ARCHIVE}.stream`),
    );
    this.streamPosition = stream ?? FIRST_POSITION;
    return outbox ?? FIRST_POSITION;
  }

  /** Entries that are old enough, as many as make one batch. */
  private async readOutbox(position: string): Promise<{ entries: readonly OutboxEntry[]; more: boolean }> {
    const { engine, keys } = this.options;
    const { archiveDelayMs, archiveBatchMax } = engine.settings;
    const [seconds, micros] = await this.retry(() => engine.redis.time());
    const untilMs = Number(seconds) * 1000 + Math.floor(Number(micros) / 1000) - archiveDelayMs;
    const entries: OutboxEntry[] = [];
    let messages = 0;
    let text = 0;
    for (let after = position; entries.length < OUTBOX_ENTRIES_MAX && text < OUTBOX_TEXT_MAX; ) {
      const raw = await this.retry(() =>
        engine.redis.xrange(keys.outbox, `(${after}`, String(untilMs), 'COUNT', OUTBOX_ENTRIES_PER_READ),
      );
      for (const each of raw) {
        const entry = readOutboxEntry(each);
        if (isNewer(entry) || !isKnown(entry)) {
          if (entries.length === 0) throw new UnknownEntryError(entry);
          return { entries, more: true };
        }
        messages += entry.type === VERDICTS ? (entry.body as Verdicts).n : 1;
        if (entries.length > 0 && messages > archiveBatchMax) return { entries, more: true };
        entries.push(entry);
        text += each[1][3]?.length ?? 0;
      }
      if (raw.length < OUTBOX_ENTRIES_PER_READ) return { entries, more: false };
      after = raw.at(-1)![0];
      // The fold shares this thread.
      await setImmediate();
    }
    return { entries, more: true };
  }

  private async batchOf(
    outbox: readonly OutboxEntry[],
    from: string,
  ): Promise<{ batch: ArchiveBatch; bytes: number }> {
    const { partition, log, engine } = this.options;
    const verdicts: OutboxVerdicts[] = [];
    const windows: ArchivedWindow[] = [];
    for (const { id, type, body } of outbox) {
      if (type === VERDICTS) verdicts.push({ outbox: id, verdicts: body as Verdicts });
      else windows.push({ outbox: id, emission: body as WindowEmission });
    }
    const { entries, bytes } = await this.readStream(verdicts);
    const { events, missing } = judge(verdicts, entries);
    if (missing > 0) {
      engine.metrics.archiveMissing(missing);
      log.error(
        { missing, from: verdicts[0]?.verdicts.f },
        'the stream no longer has messages it was to archive',
      );
    }
    const position = verdicts.at(-1)?.verdicts.t[0] ?? this.streamPosition;
    const batch = { partition, events, windows, from, to: outbox.at(-1)!.id, position };
    return { batch, bytes };
  }

  /** What the verdicts judge. `bytes` are those of entries that are judged completely with this batch. */
  private async readStream(
    verdicts: readonly OutboxVerdicts[],
  ): Promise<{ entries: readonly StreamEntry[]; bytes: number }> {
    const first = verdicts[0];
    if (first === undefined) return { entries: [], bytes: 0 };
    const { engine, keys } = this.options;
    const [toPosition, toInside] = verdicts.at(-1)!.verdicts.t;
    const end = toInside === '' ? toPosition : toInside;
    const entries: StreamEntry[] = [];
    let bytes = 0;
    for (let after = first.verdicts.f[0]; !this.stopped; ) {
      const raw = await this.retry(() =>
        engine.redis.xrange(keys.stream, `(${after}`, end, 'COUNT', ENTRIES_PER_READ),
      );
      for (const [id, fields] of raw) {
        const decoded = decodeEntry([id, fields]);
        if (decoded.kind === 'newer') throw new NewerEntryError(id, decoded.version);
        entries.push({ id, messages: decoded.kind === 'batch' ? decoded.messages : [] });
        if (id !== toInside) bytes += textLength(fields);
      }
      if (raw.length < ENTRIES_PER_READ) break;
      after = raw.at(-1)![0];
      // The fold shares this thread.
      await setImmediate();
    }
    // Half of what was to be read must not be taken for all there is.
    if (this.stopped) throw new GaveUpError('the partition was given up while its stream was read');
    return { entries, bytes };
  }

  /** False when the lease is gone. */
  private async acknowledge(
    { from, to, position, windows }: ArchiveBatch,
    bytes: number,
    refused: readonly RefusedEvent[],
  ): Promise<boolean> {
    const { engine, keys, lease, partition } = this.options;
    const letters = refused.flatMap(({ event, error }): RedisArgument[] => [
      JSON.stringify(event.message),
      error,
      Number.parseInt(event.entry, 10),
    ]);
    const last = windows.at(-1);
    const told = last === undefined ? '' : JSON.stringify([archivedMessage(to, last.emission.emission)]);
    const reply = await this.retry(() =>
      acknowledgeScript.run(
        engine.redis,
        [keys.lease, keys.sinks, keys.stream, keys.appended, keys.bytes, keys.head, keys.dead],
        [lease, ARCHIVE, from, to, position, bytes, recordBatchVersion([]), told, ...letters],
      ),
    );
    if (reply === -2) throw new Error('Redis is not where the archive left it: the batch is read again');
    if (refused.length > 0) {
      const name = partitionName(partition);
      engine.metrics.archiveRefused(name, refused.length);
      engine.complaints.deadLetters(name, refused.map(rowNews));
    }
    return reply !== 0;
  }
}

function isKnown({ type }: OutboxEntry): boolean {
  return type === VERDICTS || type === WINDOW;
}

function archivedMessage(outbox: string, upTo: number): object {
  const data: ArchivedData = { upTo };
  return { type: ARCHIVED, subject: '', id: `archived-${outbox}`, data };
}

function rowNews({ event: { message }, error }: RefusedEvent): DeadLetterNews {
  return { kind: 'row', error, attempts: 1, message };
}

function textLength(fields: readonly string[]): number {
  // As append.lua counted it: the bytes of `m`.
  return Buffer.byteLength(fields[5] ?? '');
}
