import type { Redis } from 'ioredis';
import type { PartitionKeys } from '../keys.js';
import { RECORD_BATCH_BYTES_MAX, RECORD_BATCH_MESSAGES_MAX } from '../messages/record-batch.js';
import { classifyRedisError, StoreUnavailable } from '../redis/store-unavailable.js';
import { type AppendBounds, append, type Full } from './append.js';

/** What became of one message handed to the appender. */
export type AppendOutcome =
  | { readonly kind: 'appended' }
  /** The partition holds as much as it may. Not appended. */
  | ({ readonly kind: 'full' } & Full)
  /** Redis is away or refuses. If it timed out it may be in the stream all the same. */
  | { readonly kind: 'unavailable'; readonly error: StoreUnavailable }
  /** Too much waits in this process' memory already. Not appended. */
  | { readonly kind: 'overloaded' };

export interface AppenderOptions {
  readonly redis: Redis;
  readonly bounds: AppendBounds;
  /** Bound on what waits in memory over all partitions. */
  readonly waitingMessagesMax?: number;
  readonly waitingBytesMax?: number;
  /** Called with the number of messages of each batch that was appended. */
  readonly onBatch?: (messages: number) => void;
  /** Called with an error that is not the store being away: a defect. */
  readonly onDefect?: (error: unknown) => void;
}

export const WAITING_MESSAGES_MAX = 200_000;
export const WAITING_BYTES_MAX = 128 * 1024 * 1024;
/**
 * Record batches of one partition that go in one step. With one, a single busy partition (one large customer) would wait
 * for a round trip for every 256 messages.
 */
const BATCHES_PER_FLUSH = 8;
/** How often the rest of a batch that did not fit is tried again with the part that should fit. */
const FIT_ATTEMPTS_MAX = 8;

const APPENDED: AppendOutcome = { kind: 'appended' };
const OVERLOADED: AppendOutcome = { kind: 'overloaded' };

/** Who waits for outcomes. */
interface Caller {
  settle(index: number, outcome: AppendOutcome): void;
}

/** Waits for the outcome of one message. */
class Single implements Caller {
  constructor(private readonly resolve: (outcome: AppendOutcome) => void) {}

  settle(_index: number, outcome: AppendOutcome): void {
    this.resolve(outcome);
  }
}

/** Waits for the outcomes of messages that were handed over together. */
class Group implements Caller {
  private readonly outcomes: AppendOutcome[];
  private pending: number;

  constructor(
    size: number,
    private readonly resolve: (outcomes: AppendOutcome[]) => void,
  ) {
    this.outcomes = new Array<AppendOutcome>(size);
    this.pending = size;
  }

  settle(index: number, outcome: AppendOutcome): void {
    this.outcomes[index] = outcome;
    if (--this.pending === 0) this.resolve(this.outcomes);
  }
}

interface Waiting {
  readonly text: string;
  readonly bytes: number;
  readonly caller: Caller;
  readonly index: number;
}

/**
 * Appends messages to partitions, many per record batch.
 *
 *   append ──> waiting (per partition) ──setImmediate──> flush: one step per partition ──> outcomes
 *                  ▲                                                    │
 *                  └────────────── what arrived meanwhile <─────────────┘
 *
 * What arrives for a partition within one turn of the event loop, or while a flush is under way, becomes one batch,
 * or several that go together.
 * One flush at a time: that keeps the order of arrival even where a batch is refused and tried again in part, and
 * makes batches grow exactly when the store is the bottleneck. (Flushing each partition as soon as its own batch
 * was answered was measured: half as many messages per batch, and a third more CPU per message.)
 */
export class Appender {
  private readonly queues = new Map<string, PartitionQueue>();
  private waitingMessages = 0;
  private waitingBytes = 0;
  private readonly dirty: PartitionQueue[] = [];
  private flushing = false;
  private readonly waitingMessagesMax: number;
  private readonly waitingBytesMax: number;

  constructor(private readonly options: AppenderOptions) {
    this.waitingMessagesMax = options.waitingMessagesMax ?? WAITING_MESSAGES_MAX;
    this.waitingBytesMax = options.waitingBytesMax ?? WAITING_BYTES_MAX;
  }

  /** Appends one serialised message. Never rejects. */
  append(keys: PartitionKeys, message: string): Promise<AppendOutcome> {
    return new Promise((resolve) => {
      const queue = this.queueOf(keys);
      this.enqueue(queue, message, new Single(resolve), 0);
      this.schedule(queue);
    });
  }

  /** Appends messages of one partition in this order, each with an outcome of its own. Never rejects. */
  appendAll(keys: PartitionKeys, messages: readonly string[]): Promise<AppendOutcome[]> {
    if (messages.length === 0) return Promise.resolve([]);
    return new Promise((resolve) => {
      const group = new Group(messages.length, resolve);
      const queue = this.queueOf(keys);
      for (let index = 0; index < messages.length; index++) {
        this.enqueue(queue, messages[index]!, group, index);
      }
      this.schedule(queue);
    });
  }

  private enqueue(queue: PartitionQueue, text: string, caller: Caller, index: number): void {
    const bytes = Buffer.byteLength(text);
    if (this.waitingMessages >= this.waitingMessagesMax || this.waitingBytes + bytes > this.waitingBytesMax) {
      caller.settle(index, OVERLOADED);
      return;
    }
    this.waitingMessages++;
    this.waitingBytes += bytes;
    queue.waiting.push({ text, bytes, caller, index });
  }

  private queueOf(keys: PartitionKeys): PartitionQueue {
    let queue = this.queues.get(keys.base);
    if (queue === undefined) {
      queue = { keys, waiting: [], scheduled: false };
      this.queues.set(keys.base, queue);
    }
    return queue;
  }

  private schedule(queue: PartitionQueue): void {
    if (queue.scheduled || queue.waiting.length === 0) return;
    queue.scheduled = true;
    this.dirty.push(queue);
    this.flushSoon();
  }

  private flushSoon(): void {
    if (this.flushing || this.dirty.length === 0) return;
    this.flushing = true;
    setImmediate(() => void this.flush());
  }

  private async flush(): Promise<void> {
    await Promise.all(this.dirty.splice(0).map((queue) => this.sendNext(queue)));
    this.flushing = false;
    this.flushSoon();
  }

  private async sendNext(queue: PartitionQueue): Promise<void> {
    queue.scheduled = false;
    const batches = [takeBatch(queue)];
    while (batches.length < BATCHES_PER_FLUSH && queue.waiting.length > 0) batches.push(takeBatch(queue));
    try {
      await this.sendAll(queue, batches);
    } catch (error) {
      // Whoever has an outcome is not among them any more.
      this.fail(queue, batches.flat(), error);
    }
    this.schedule(queue);
  }

  /** Sends batches in one step; takes those off the list that have their outcomes. */
  private async sendAll(queue: PartitionQueue, batches: Waiting[][]): Promise<void> {
    const { redis, bounds, onBatch } = this.options;
    const texts = batches.map((batch) => batch.map((waiting) => waiting.text));
    const { appended, full } = await append(redis, queue.keys, texts, bounds);
    for (const batch of batches.splice(0, appended)) {
      onBatch?.(batch.length);
      this.settleAll(batch, APPENDED);
    }
    if (full === undefined) return;
    const [next] = batches;
    await this.sendPart(queue, next!, full);
    batches.shift();
    // What follows a batch that did not fit is not tried: it would overtake it.
    for (const batch of batches.splice(0)) this.settleAll(batch, { kind: 'full', ...full });
  }

  /** Sends as much of a refused batch as fits. */
  private async sendPart(queue: PartitionQueue, batch: readonly Waiting[], refused: Full): Promise<void> {
    const { redis, bounds, onBatch } = this.options;
    let full = refused;
    for (let attempt = 1; ; attempt++) {
      // A part would fit into the archive's bound too, but that bound is not met to the byte.
      const room = full.reason === 'backlog' ? Math.min(bounds.backlogMax - full.backlog, batch.length) : 0;
      if (room <= 0 || attempt === FIT_ATTEMPTS_MAX) {
        this.settleAll(batch, { kind: 'full', ...full });
        return;
      }
      const part = batch.slice(0, room);
      const texts = part.map((waiting) => waiting.text);
      const result = await append(redis, queue.keys, [texts], bounds);
      if (result.full === undefined) {
        onBatch?.(room);
        this.settleAll(part, APPENDED);
        // The part took all the room there was.
        this.settleAll(batch.slice(room), { kind: 'full', reason: 'backlog', backlog: bounds.backlogMax });
        return;
      }
      // Another process has taken some of the room between two attempts.
      full = result.full;
    }
  }

  /**
   * The store is away. Whatever waits behind the batch fails with it: it would otherwise wait for a timeout of
   * its own, and a caller would wait for two.
   */
  private fail(queue: PartitionQueue, batch: readonly Waiting[], error: unknown): void {
    const classified = classifyRedisError(error);
    if (!(classified instanceof StoreUnavailable)) this.options.onDefect?.(error);
    const unavailable =
      classified instanceof StoreUnavailable
        ? classified
        : new StoreUnavailable('The store refused the message.', error);
    const outcome: AppendOutcome = { kind: 'unavailable', error: unavailable };
    this.settleAll(batch, outcome);
    this.settleAll(queue.waiting.splice(0), outcome);
  }

  private settleAll(batch: readonly Waiting[], outcome: AppendOutcome): void {
    for (const { bytes, caller, index } of batch) {
      this.waitingMessages--;
      this.waitingBytes -= bytes;
      caller.settle(index, outcome);
    }
  }
}

interface PartitionQueue {
  readonly keys: PartitionKeys;
  /** In order of arrival. */
  waiting: Waiting[];
  /** In `dirty`: part of the next flush. */
  scheduled: boolean;
}

/** Removes the longest run of waiting messages that makes one record batch: at least one. */
function takeBatch(queue: PartitionQueue): Waiting[] {
  const { waiting } = queue;
  let bytes = 2;
  let count = 0;
  while (count < waiting.length && count < RECORD_BATCH_MESSAGES_MAX) {
    bytes += waiting[count]!.bytes + 1;
    if (bytes > RECORD_BATCH_BYTES_MAX && count > 0) break;
    count++;
  }
  if (count === waiting.length) {
    queue.waiting = [];
    return waiting;
  }
  return waiting.splice(0, count);
}
