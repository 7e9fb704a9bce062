import type { Redis } from 'ioredis';
import { isTransient } from '../../shared/redis/errors.js';
import { allPartitions, type Partition, partitionName, type Topic } from '../../shared/topics.js';
import type { Archive } from './archive.js';
import { assignPartitions } from './assign.js';
import type { Engine } from './engine.js';
import { FencedError } from './fenced-error.js';
import { ControlHealer } from './heal-controls.js';
import { heartbeat, type LiveWorkers } from './heartbeat.js';
import { type AcquireResult, acquireLease, releaseLease, renewLease } from './lease.js';
import type { Memory } from './memory.js';
import type { Sink } from './outbox-drain.js';
import { PartitionRunner } from './partition-runner.js';
import type { Processor } from './processor.js';
import type { RunEnd } from './run-end.js';
import { shareAsText } from './share-as-text.js';

/** How long a partition that cannot be worked on here is left alone, by why the last run of it ended. */
const PAUSE_MS: Record<RunEnd, number> = { released: 0, lost: 0, newer: 10_000, failed: 5000 };

export interface WorkerOptions {
  readonly engine: Engine;
  readonly processors: readonly Processor[];
  readonly sinks: readonly Sink[];
  /** Keeps what archived topics bring; absent: it waits in Redis. */
  readonly archive?: Archive | undefined;
  /** Who knows of a topic's partitions what Redis may have lost. */
  readonly memories?: ReadonlyMap<Topic, Memory>;
  readonly partitionsPerTopic: number;
  /** Connection in subscriber mode. */
  readonly subscriber: Redis;
}

/**
 * A worker process' membership in the fleet: heartbeats, the fair assignment computed from them, and one runner
 * per partition it owns. Every worker computes the same assignment, gives back what is no longer its own and
 * takes what is.
 */
export class Worker {
  private readonly runners = new Map<string, { runner: PartitionRunner; ended: Promise<void> }>();
  private readonly pausedUntil = new Map<string, number>();
  private readonly partitions: readonly Partition[];
  private readonly healer: ControlHealer;
  private ticking: Promise<void> | undefined;
  private tickAgain = false;
  private timer: NodeJS.Timeout | undefined;
  private closed = false;
  private reported = '';
  private seen = '';
  private seenAt = 0;

  constructor(private readonly options: WorkerOptions) {
    this.partitions = allPartitions(options.partitionsPerTopic);
    this.healer = new ControlHealer(options.engine);
  }

  get ownedPartitions(): readonly string[] {
    return [...this.runners.keys()];
  }

  async start(): Promise<void> {
    const { subscriber, engine } = this.options;
    const subscribe = (): void => {
      subscriber.subscribe(engine.keys.assignmentChannel).catch(() => undefined);
    };
    subscriber.on('message', () => this.tickSoon());
    subscriber.on('ready', subscribe);
    if (subscriber.status === 'ready') subscribe();
    await this.tick();
    this.announce();
  }

  /** Finishes every step under way, gives back all leases and leaves the fleet. */
  async close(): Promise<void> {
    this.closed = true;
    clearTimeout(this.timer);
    await this.ticking;
    const { engine } = this.options;
    // Out of the list first: the others compute their new share while the steps here are finished.
    await engine.redis.zrem(engine.keys.workers, engine.workerId).catch(() => undefined);
    const running = [...this.runners.values()];
    for (const { runner } of running) runner.stop();
    await Promise.all(running.map(({ ended }) => ended));
  }

  /** Runs a tick now, or once more after the one that is running. */
  private tickSoon(): void {
    if (this.closed) return;
    if (this.ticking !== undefined) {
      this.tickAgain = true;
      return;
    }
    clearTimeout(this.timer);
    void this.tick();
  }

  private tick(): Promise<void> {
    this.ticking ??= this.runTick().finally(() => {
      this.ticking = undefined;
    });
    return this.ticking;
  }

  private async runTick(): Promise<void> {
    const { engine } = this.options;
    let nextMs = engine.settings.heartbeatMs;
    try {
      await this.keepLeases();
      const live = await heartbeat(
        engine.redis,
        engine.keys.workers,
        engine.workerId,
        engine.settings.leaseTtlMs,
      );
      nextMs = Math.min(nextMs, await this.settle(live));
    } catch (error) {
      if (!isTransient(error)) engine.log.error({ err: error }, 'heartbeat failed');
    }
    this.reportOwned();
    if (this.closed) return;
    if (this.tickAgain) nextMs = 0;
    this.tickAgain = false;
    this.timer = setTimeout(() => void this.tick(), nextMs);
  }

  /** Renews every lease and looks after every owned partition; a runner whose lease is gone is ended. */
  private async keepLeases(): Promise<void> {
    const { engine } = this.options;
    await Promise.all(
      [...this.runners.values()].map(async ({ runner }) => {
        try {
          const keys = engine.keys.partition(runner.partition);
          const mine = await renewLease(engine.redis, keys, runner.leaseValue, engine.settings.leaseTtlMs);
          if (!mine) throw new FencedError('renewal');
          await runner.housekeep();
          await this.healer.heal(runner);
        } catch (error) {
          if (error instanceof FencedError) runner.abandon();
          else if (!isTransient(error))
            engine.log.error({ err: error, partition: runner.name }, 'housekeeping failed');
        }
      }),
    );
  }

  /** Gives back and takes partitions; returns in how many ms to look again. */
  private async settle({ redisTimeMs, workers }: LiveWorkers): Promise<number> {
    const { engine } = this.options;
    const { leaseTtlMs, heartbeatMs } = engine.settings;
    // Half a heartbeat less than the lease: a dead worker's share is dealt out when its leases run out, not after.
    const liveForMs = leaseTtlMs - heartbeatMs / 2;
    const ages = [...workers].map(([id, at]) => [id, redisTimeMs - at] as const);
    const live = ages.filter(([, age]) => age <= liveForMs).map(([id]) => id);
    const nextDeathMs = Math.min(
      Infinity,
      ...ages.filter(([, age]) => age <= liveForMs).map(([, age]) => liveForMs - age + 1),
    );
    engine.metrics.sawWorkers(live.length);
    const mine = new Set(assignPartitions(live, this.partitions.map(partitionName)).get(engine.workerId));
    for (const [name, { runner }] of this.runners) {
      if (!mine.has(name)) runner.stop();
    }
    const wanted = this.partitions.filter((partition) => {
      const name = partitionName(partition);
      return mine.has(name) && !this.runners.has(name) && (this.pausedUntil.get(name) ?? 0) <= Date.now();
    });
    const waits = await Promise.all(wanted.map((partition) => this.take(partition)));
    return Math.max(1, Math.min(nextDeathMs, ...waits));
  }

  /** Tries to own a partition; returns in how many ms to try again (Infinity: no need). */
  private async take(partition: Partition): Promise<number> {
    const { engine, processors, sinks, archive, memories } = this.options;
    const processor = processors.find(({ topic }) => topic === partition.topic);
    if (processor === undefined) throw new Error(`no processor for topic ${partition.topic}`);
    const name = partitionName(partition);
    const keys = engine.keys.partition(partition);
    let result: AcquireResult;
    try {
      result = await acquireLease(engine.redis, keys, engine.workerId, engine.settings.leaseTtlMs);
    } catch (error) {
      if (isTransient(error)) throw error;
      // A defect of this partition is none of the others'.
      engine.log.error({ err: error, partition: name }, 'partition cannot be taken');
      this.pausedUntil.set(name, Date.now() + PAUSE_MS.failed);
      engine.metrics.leaseChanged(name, 'failed');
      return Infinity;
    }
    if (result.kind === 'held') return result.remainingMs + 1;
    const { lease } = result;
    if (this.closed) {
      await releaseLease(engine.redis, keys, lease.value, true);
      return Infinity;
    }
    engine.metrics.leaseChanged(name, 'acquired');
    engine.log.debug(
      { partition: name, position: lease.head.position, seq: lease.head.seq },
      'partition acquired',
    );
    const memory = memories?.get(partition.topic);
    const runner = new PartitionRunner(partition, engine, processor, lease, sinks, archive, memory);
    this.runners.set(name, { runner, ended: runner.run().then((end) => this.ended(name, end)) });
    return Infinity;
  }

  private ended(name: string, end: RunEnd): void {
    const { engine } = this.options;
    this.runners.delete(name);
    if (PAUSE_MS[end] > 0) this.pausedUntil.set(name, Date.now() + PAUSE_MS[end]);
    engine.metrics.leaseChanged(name, end);
    engine.log.debug({ partition: name, end }, 'partition given up');
    // Whoever the partition belongs to now need not wait for a heartbeat; that may be ourselves.
    this.announce();
    this.tickSoon();
  }

  /** One line when the share has changed and stayed so for a heartbeat: in a start it goes from hand to hand. */
  private reportOwned(): void {
    const owned = shareAsText([...this.runners.values()].map(({ runner }) => runner.partition));
    if (owned !== this.seen) this.seenAt = performance.now();
    this.seen = owned;
    const settledMs = performance.now() - this.seenAt;
    if (owned === this.reported || settledMs < this.options.engine.settings.heartbeatMs) return;
    this.reported = owned;
    this.options.engine.log.info(`owns ${owned}`);
  }

  private announce(): void {
    const { engine } = this.options;
    engine.redis.publish(engine.keys.assignmentChannel, engine.workerId).catch(() => undefined);
  }
}
