import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { ARCHIVE, type PartitionKeys } from '../../shared/keys.js';
import type { Logger } from '../../shared/logging.js';
import { isArchived, type Partition, partitionName } from '../../shared/topics.js';
import type { Archive } from './archive.js';
import { ArchiveDrain } from './archive-drain.js';
import { beginAgain } from './begin-again.js';
import { assertApplied } from './commit.js';
import { Doorbell } from './doorbell.js';
import type { Drain } from './drain.js';
import type { Engine } from './engine.js';
import { EntryBuffer } from './entry-buffer.js';
import { FencedError } from './fenced-error.js';
import { type FetchResult, fetchEntries } from './fetch.js';
import { housekeep, type PartitionSight, type SinkPosition } from './housekeep.js';
import { type Lease, releaseLease } from './lease.js';
import type { Memory } from './memory.js';
import { OutboxDrain, type Sink } from './outbox-drain.js';
import { PartitionFold } from './partition-fold.js';
import type { Processor } from './processor.js';
import { retryWhileAway } from './retry.js';
import { endOf, type RunEnd } from './run-end.js';
import { finishCommit } from './unfinished-commit.js';
import { Waiting } from './waiting.js';

/** An idle partition asks again after this long even if its doorbell stays silent. */
const IDLE_MS_MAX = 1000;
/** How long a sink may take to finish what it is writing when the partition is given up. */
const DRAIN_STOP_MS = 1000;
/** How often a partition that must wait looks again. */
const WAIT_MS = 250;

/**
 * Owns one partition from lease to release.
 *
 *   acquire ─▶ restore ─▶ ┌─▶ fetch ─▶ load ─▶ fold ─▶ commit ─┐ ─▶ stop: release
 *                         │     │ nothing: due timers, then     │
 *                         │     ▼ the doorbell                  │
 *                         └─────┴──────────────────────────────-┘
 *   FENCED or STALE anywhere: throw away everything in memory and end ('lost').
 *
 * The next fetch runs while the present step is folded and committed. A commit whose reply is lost is sent again
 * until the answer is known; everything else that fails is simply done again from the committed head.
 */
export class PartitionRunner {
  readonly name: string;
  private readonly keys: PartitionKeys;
  private readonly log: Logger;
  private readonly buffer: EntryBuffer;
  private readonly fold: PartitionFold;
  private readonly doorbell: Doorbell;
  private readonly drains: readonly Drain[];
  /** Whom trimming waits for: also an archive that is not there (yet). */
  private readonly sinkPositions: readonly SinkPosition[];
  private fetching: Promise<FetchResult | { readonly kind: 'error'; readonly error: unknown }> | undefined;
  /** Redis time of the last fetch if it found nothing, in ms. */
  private drainedAtMs: number | undefined;
  /** What the buffer holds came by the doorbell. */
  private hasRung = false;
  private stopping = false;
  private lost = false;
  private restored = false;
  private sight: PartitionSight | undefined;
  private readonly waiting: Waiting;

  constructor(
    readonly partition: Partition,
    private readonly engine: Engine,
    private readonly processor: Processor,
    private readonly lease: Lease,
    sinks: readonly Sink[],
    archive: Archive | undefined,
    private readonly memory: Memory | undefined,
  ) {
    this.name = partitionName(partition);
    this.keys = engine.keys.partition(partition);
    this.log = engine.log.child({ partition: this.name });
    this.buffer = new EntryBuffer(lease.head.position, lease.head.inside);
    this.fold = new PartitionFold({
      engine,
      keys: this.keys,
      name: this.name,
      log: this.log,
      processor,
      lease,
      buffer: this.buffer,
      mayGoOn: () => !this.stopping && !this.lost,
    });
    this.waiting = new Waiting(engine, this.name, this.log);
    this.doorbell = new Doorbell(() => engine.connectBlocking(`doorbell-${this.name}`));
    const mine = sinks.filter(({ topic }) => topic === partition.topic);
    const archived = isArchived(partition.topic);
    this.sinkPositions = [
      ...mine.map(({ name }) => ({ name, readsStream: false })),
      ...(archived ? [{ name: ARCHIVE, readsStream: true }] : []),
    ];
    const common = { engine, partition, keys: this.keys, lease: lease.value, log: this.log };
    this.drains = [
      ...mine.map((sink) => new OutboxDrain({ ...common, sink })),
      ...(archived && archive !== undefined ? [new ArchiveDrain({ ...common, archive })] : []),
    ];
  }

  get leaseValue(): string {
    return this.lease.value;
  }

  /** Finishes the step under way, then releases the lease. */
  stop(): void {
    this.stopping = true;
    this.doorbell.close();
  }

  /** The lease is known to be gone: end without finishing anything. */
  abandon(): void {
    this.lost = true;
    this.doorbell.close();
  }

  async run(): Promise<RunEnd> {
    let end: RunEnd;
    const draining = this.drains.map((drain) => drain.run());
    try {
      // A partition is taken as it is after that: by a new owner, this worker or another.
      if (this.lease.head.dirty) await this.finishCommit();
      else await this.work();
      end = this.lost ? 'lost' : 'released';
    } catch (error) {
      end = endOf(error, this.lost, this.log);
      if (end === 'lost' && error instanceof FencedError) this.engine.metrics.fenced(this.name);
    }
    this.doorbell.close();
    for (const drain of this.drains) drain.stop();
    // A sink that hangs must not keep the partition from its next owner: its late word is fenced.
    await Promise.race([Promise.all(draining), sleep(DRAIN_STOP_MS, undefined, { ref: false })]);
    await this.fetching;
    // Also after 'lost': if the head went back (a restarted Redis) the lease may still be ours.
    await releaseLease(this.engine.redis, this.keys, this.lease.value, end !== 'failed').catch(
      () => undefined,
    );
    return end;
  }

  private async work(): Promise<void> {
    await this.beginAgain();
    await this.fold.restore();
    this.restored = true;
    while (!this.stopping && !this.lost) await this.turn();
  }

  /** Does what a commit of an owner before had left to do. @throws while that fails still */
  private async finishCommit(): Promise<void> {
    const { redis, metrics } = this.engine;
    const result = await retryWhileAway(
      () => finishCommit(redis, this.keys, this.lease.value),
      () => !this.stopping && !this.lost,
    );
    if (result === undefined) {
      throw new Error(
        `the head is dirty and does not say what is left to do (npm run repair -- ${this.name})`,
      );
    }
    metrics.unpublished(assertApplied(result, this.name));
    this.log.warn('a commit that had failed half-way is finished');
  }

  private beginAgain(): Promise<void> {
    const { engine, partition, keys, lease, processor, memory, log } = this;
    return retryWhileAway(
      () => beginAgain({ redis: engine.redis, partition, keys, lease, processor, memory, log }),
      () => !this.stopping && !this.lost,
    );
  }

  /** Once per heartbeat: trim, look, report. @throws FencedError */
  async housekeep(): Promise<void> {
    const { metrics, redis } = this.engine;
    const known = this.fold.seqNow;
    const { waitsFor } = this.waiting;
    const sight = await housekeep(redis, this.keys, this.lease.value, this.sinkPositions, waitsFor);
    if (sight === undefined) throw new FencedError('housekeeping');
    // The head went back: Redis came up again without its last commits.
    if (sight.seq < known) throw new FencedError('housekeeping: the head went back');
    const { messages, bytes } = sight.stray;
    if (messages !== 0 || bytes !== 0)
      this.log.warn(
        { messages, bytes },
        'counted as waiting, but not there any more: counters are set right',
      );
    this.sight = sight;
    metrics.sawPartition(this.name, sight, this.fold.rememberedIds);
  }

  /** Control messages that are applied; undefined where there are none or it is not known yet. */
  appliedControls(): readonly string[] | undefined {
    return this.restored ? this.fold.appliedControls() : undefined;
  }

  /** As of the last heartbeat. */
  get backlogMessages(): number {
    return this.sight?.backlogMessages ?? 0;
  }

  private async turn(): Promise<void> {
    if (await this.mustWait()) return;
    if (this.buffer.isEmpty) {
      if (this.fetching === undefined) this.startFetch();
      await this.absorbFetch();
    }
    if (!this.buffer.isEmpty) {
      // The next fetch runs while this step is folded and committed.
      if (this.mayHoldMore) this.startFetch();
      await this.step(this.buffer.pending.at(-1)!.atMs);
    } else if (this.drainedAtMs !== undefined && !(await this.step(this.drainedAtMs))) {
      await this.idle(this.drainedAtMs);
    }
  }

  /** Folds and commits one step; false when there was nothing to fold. */
  private async step(timersUntilMs: number): Promise<boolean> {
    const done = await this.fold.step(timersUntilMs);
    if (done === undefined) return false;
    if (done.emitted > 0) for (const drain of this.drains) drain.wake();
    if (this.sight !== undefined && (done.emitted > 0 || done.deadLetters > 0)) {
      const { outboxEntries, deadLetters } = this.sight;
      this.sight = {
        ...this.sight,
        outboxEntries: outboxEntries + done.emitted,
        deadLetters: deadLetters + done.deadLetters,
      };
    }
    return true;
  }

  /** Whether to fetch ahead while a step is folded. */
  private get mayHoldMore(): boolean {
    const { batchMessagesMax } = this.engine.settings;
    return this.fetching === undefined && !this.hasRung && this.buffer.messages <= batchMessagesMax;
  }

  private startFetch(): void {
    const { redis, settings } = this.engine;
    const { value } = this.lease;
    this.fetching = fetchEntries(
      redis,
      this.keys,
      value,
      this.buffer.lastId,
      settings.batchMessagesMax,
    ).catch((error: unknown) => ({ kind: 'error' as const, error }));
  }

  private async absorbFetch(): Promise<void> {
    const result = await this.fetching;
    this.fetching = undefined;
    if (result === undefined) return;
    if (result.kind === 'fenced') throw new FencedError('fetch');
    if (result.kind === 'error') {
      this.drainedAtMs = undefined;
      // A fetch may be repeated freely: it says itself where it begins.
      const again = await retryWhileAway(
        async () => {
          this.startFetch();
          const repeated = await this.fetching!;
          if (repeated.kind === 'error') throw repeated.error;
          return repeated;
        },
        () => !this.stopping && !this.lost,
      );
      this.fetching = Promise.resolve(again);
      return this.absorbFetch();
    }
    this.buffer.push(result.entries);
    this.hasRung = false;
    this.drainedAtMs = result.entries.length === 0 ? result.redisTimeMs : undefined;
  }

  /** Nothing to do: wait for the doorbell or the next timer. */
  private async idle(drainedAtMs: number): Promise<void> {
    if (this.fetching !== undefined) return;
    const untilTimerMs = this.fold.nextTimerMs - drainedAtMs;
    const blockMs = Math.max(1, Math.min(IDLE_MS_MAX, untilTimerMs));
    const started = performance.now();
    // What rang is folded at once: asking for it by another fetch would be a round trip more. Nothing lay behind it then:
    // what comes while it is folded is fetched after.
    this.hasRung = true;
    this.buffer.push(await this.doorbell.wait(this.keys.stream, this.buffer.lastId, blockMs));
    this.engine.metrics.idled(this.name, performance.now() - started);
  }

  private async mustWait(): Promise<boolean> {
    if (this.waiting.look(this.sight, this.lease.deadLetters) === undefined) return false;
    await sleep(WAIT_MS);
    return true;
  }
}
