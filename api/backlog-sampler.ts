import type { Redis } from 'ioredis';
import { ARCHIVE, type Keys } from '../shared/keys.js';
import { allPartitions, type Partition, partitionName } from '../shared/topics.js';

export const SAMPLE_INTERVAL_MS = 500;
/** Weight of the newest sample in the drain rate: about five seconds are remembered. */
const RATE_WEIGHT = 0.2;
const RETRY_AFTER_UNKNOWN_SECONDS = 5;
const RETRY_AFTER_SECONDS_MAX = 60;

/** What waits and how it drains: messages for the workers, bytes for the archive. */
interface Sample {
  backlog: number;
  folded: number;
  atMs: number;
  /** Messages per second; undefined until two samples were taken. */
  rate: number | undefined;
}

export interface BacklogSamplerOptions {
  readonly redis: Redis;
  readonly keys: Keys;
  readonly partitions: number;
  /** A worker whose heartbeat is older than this counts as gone, in ms. */
  readonly workerTtlMs: number;
  readonly intervalMs?: number;
}

/**
 * Watches how much waits in each partition and how fast it drains: for `Retry-After` and for the metrics.
 * One round of small reads per interval, never two at a time; while Redis is away the last figures stay.
 */
export class BacklogSampler {
  private readonly samples = new Map<string, Sample>();
  /** In bytes; of archived topics. */
  private readonly archives = new Map<string, Sample>();
  private readonly partitions: readonly Partition[];
  private timer: NodeJS.Timeout | undefined;
  private sampling = false;
  workersLive = 0;

  constructor(private readonly options: BacklogSamplerOptions) {
    this.partitions = allPartitions(options.partitions);
  }

  start(): void {
    this.timer = setInterval(() => void this.tick(), this.options.intervalMs ?? SAMPLE_INTERVAL_MS);
    this.timer.unref();
  }

  stop(): void {
    clearInterval(this.timer);
  }

  backlogOf(partition: Partition): number {
    return this.samples.get(partitionName(partition))?.backlog ?? 0;
  }

  drainRateOf(partition: Partition): number | undefined {
    return this.samples.get(partitionName(partition))?.rate;
  }

  /**
   * Seconds after which a partition that is full should have room worth another try: the time in which a tenth of
   * its backlog drains, at the measured rate. (The first place is free much sooner, but not for everyone who was
   * refused.) 5 while no rate was measured; at most 60, which is also the answer while nothing drains.
   */
  retryAfterSeconds(partition: Partition, backlog: number): number {
    return retryAfter(backlog, this.drainRateOf(partition));
  }

  /** The same for what waits for the archive. */
  archiveRetryAfterSeconds(partition: Partition, bytes: number): number {
    return retryAfter(bytes, this.archives.get(partitionName(partition))?.rate);
  }

  /** Bytes of messages that Postgres does not have yet. */
  archiveBytesOf(partition: Partition): number {
    return this.archives.get(partitionName(partition))?.backlog ?? 0;
  }

  /** One sample of everything. */
  async tick(): Promise<void> {
    if (this.sampling || this.options.redis.status !== 'ready') return;
    this.sampling = true;
    try {
      await Promise.all([
        ...this.partitions.map((partition) => this.samplePartition(partition)),
        this.sampleWorkers(),
      ]);
    } catch {
      // Redis went away: whoever asks it for something that matters says so.
    } finally {
      this.sampling = false;
    }
  }

  private async samplePartition(partition: Partition): Promise<void> {
    const { redis, keys } = this.options;
    const partitionKeys = keys.partition(partition);
    const [appendedText, foldedText] = await Promise.all([
      redis.get(partitionKeys.appended),
      redis.hget(partitionKeys.head, 'folded'),
    ]);
    this.record(partition, Number(appendedText ?? 0), Number(foldedText ?? 0), performance.now());
    if (!partitionKeys.archived) return;
    const [bytes, archived] = await Promise.all([
      redis.get(partitionKeys.bytes),
      redis.hget(partitionKeys.sinks, `${ARCHIVE}.bytes`),
    ]);
    recordIn(this.archives, partition, Number(bytes ?? 0), Number(archived ?? 0), performance.now());
  }

  /** Pure but for the map: `atMs` is any steady clock. */
  record(partition: Partition, appended: number, folded: number, atMs: number): void {
    recordIn(this.samples, partition, appended, folded, atMs);
  }

  private async sampleWorkers(): Promise<void> {
    const { redis, keys, workerTtlMs } = this.options;
    this.workersLive = await countLiveWorkers(redis, keys, workerTtlMs);
  }
}

function retryAfter(backlog: number, rate: number | undefined): number {
  if (rate === undefined) return RETRY_AFTER_UNKNOWN_SECONDS;
  return Math.min(RETRY_AFTER_SECONDS_MAX, Math.max(1, Math.ceil(backlog / 10 / rate)));
}

function recordIn(
  samples: Map<string, Sample>,
  partition: Partition,
  appended: number,
  folded: number,
  atMs: number,
): void {
  const name = partitionName(partition);
  const before = samples.get(name);
  const backlog = Math.max(0, appended - folded);
  let rate: number | undefined;
  // A counter that went back was emptied with its data: the average starts again.
  if (before !== undefined && folded >= before.folded && atMs > before.atMs) {
    const now = ((folded - before.folded) * 1000) / (atMs - before.atMs);
    // An interval that began without a backlog says how much came, not how fast it could drain.
    if (before.backlog === 0) rate = before.rate;
    else rate = before.rate === undefined ? now : before.rate + RATE_WEIGHT * (now - before.rate);
  }
  samples.set(name, { backlog, folded, atMs, rate });
}

/** Workers whose last heartbeat, by Redis' own clock, is not older than `workerTtlMs`. */
export async function countLiveWorkers(redis: Redis, keys: Keys, workerTtlMs: number): Promise<number> {
  const [seconds, micros] = await redis.time();
  const nowMs = Number(seconds) * 1000 + Math.floor(Number(micros) / 1000);
  return redis.zcount(keys.workers, nowMs - workerTtlMs, '+inf');
}
