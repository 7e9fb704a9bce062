import { performance } from 'node:perf_hooks';
import type { PartitionKeys } from '../../shared/keys.js';
import type { Logger } from '../../shared/logging.js';
import { type BuiltCommit, buildCommit, DocumentTooLargeError, encodeDocument } from './build-commit.js';
import { type Commit, type CommitResult, sendCommit } from './commit.js';
import { DocumentCache } from './document-cache.js';
import type { Engine } from './engine.js';
import type { EntryBuffer } from './entry-buffer.js';
import { FencedError } from './fenced-error.js';
import { foldStep, type StepOutcome } from './fold-step.js';
import { compareEntryIds } from './head.js';
import { IdStore } from './id-store.js';
import type { Lease } from './lease.js';
import { loadDocuments } from './load-documents.js';
import { type Planned, planStep } from './plan-step.js';
import type { Facts, Processor, ReadDocument } from './processor.js';
import { retryWhileAway } from './retry.js';
import { Timers } from './timers.js';

/** After this many owners died without a commit, messages are tried alone. */
const TAKEOVERS_MAX = 3;

export interface PartitionFoldOptions {
  readonly engine: Engine;
  readonly keys: PartitionKeys;
  readonly name: string;
  readonly log: Logger;
  readonly processor: Processor;
  readonly lease: Lease;
  readonly buffer: EntryBuffer;
  readonly mayGoOn: () => boolean;
}

export interface StepDone {
  readonly emitted: number;
  readonly deadLetters: number;
}

/**
 * Plans, loads, folds and commits the steps of one partition. Holds everything that is only valid while the
 * lease is: the head, the documents, the id index, the next timer. Any failure that is not "Redis is away" ends
 * the owner, and the next one begins from what is committed.
 */
export class PartitionFold {
  private readonly cache: DocumentCache;
  private readonly ids: IdStore;
  private readonly timers: Timers;
  private seq: number;
  private at: number;
  private committed: string;
  /** Too many owners died here: try inputs alone, at least until this entry is folded. */
  private cautious: boolean;
  private cautiousUntil: string;

  constructor(private readonly options: PartitionFoldOptions) {
    const { engine, keys, processor, lease, log, name } = options;
    const { head } = lease;
    const { dedupeWindowMs, dedupeIdsMax, stateCacheMax } = engine.settings;
    this.cache = new DocumentCache(stateCacheMax, new Set(processor.pinned));
    this.ids = new IdStore(keys, head.seed, dedupeWindowMs, dedupeIdsMax, (ids) => {
      log.error({ ids, dedupeIdsMax }, 'id index full: the dedupe window is shorter than configured');
      engine.metrics.dedupeWindowCut(name);
    });
    this.timers = new Timers(keys, lease.nextDueMs);
    this.seq = head.seq;
    this.at = head.at;
    this.committed = head.position;
    this.cautiousUntil = head.cautiousUntil;
    this.cautious = head.cautiousUntil !== '' || head.takeovers > TAKEOVERS_MAX;
  }

  /** Number of commits known to be applied. */
  get seqNow(): number {
    return this.seq;
  }

  get nextTimerMs(): number {
    return this.timers.nextMs;
  }

  get rememberedIds(): number {
    return this.ids.size;
  }

  /** Reads back what an owner keeps in memory. @throws when the head is dirty */
  async restore(): Promise<void> {
    const { engine, lease, log } = this.options;
    if (lease.head.dirty)
      throw new Error('the head is dirty: a commit failed half-way (docs/failure-modes.md)');
    await this.retry(() => this.ids.load(engine.redis, lease.head.ids));
    await this.retry(() => this.load([], []));
    if (this.cautious)
      log.warn({ takeovers: lease.head.takeovers }, 'owners died here: inputs are tried alone');
  }

  appliedControls(): readonly string[] | undefined {
    return this.options.processor.appliedControls?.(this.readCached);
  }

  /**
   * One step: at most `batchMessagesMax` inputs in one commit. Undefined when there is nothing to fold.
   * @param timersUntilMs how far time has come: the last entry's, or Redis' own when the stream is drained
   */
  async step(timersUntilMs: number): Promise<StepDone | undefined> {
    const { engine, buffer, name, processor } = this.options;
    const started = performance.now();
    const due = await this.retry(() => this.timers.load(engine.redis, Math.max(this.at, timersUntilMs)));
    if (this.cautious && this.cautiousUntil === '' && !buffer.isEmpty) this.cautiousUntil = buffer.lastId;
    const planned = planStep({
      buffer,
      position: this.committed,
      headAt: this.at,
      timers: due,
      inputsMax: this.cautious ? 1 : engine.settings.batchMessagesMax,
      slotOf: (at) => this.ids.slotOf(at),
      processor,
      readPinned: this.readCached,
    });
    if (planned.length === 0) return undefined;
    const { outcome, built } = await this.foldPlanned(planned);
    const last = planned[outcome.consumed - 1]!;
    const { position, offset } = last.after;
    await this.commit(
      {
        lease: this.options.lease.value,
        seq: this.seq,
        position,
        offset,
        at: last.at,
        folded: outcome.messages,
        cautiousUntil: this.stillCautious(position) ? this.cautiousUntil : '',
        ids: built.ids,
        commands: built.commands,
      },
      outcome,
      built,
    );
    buffer.advanceTo(last.after);
    engine.metrics.committed(name, outcome, (performance.now() - started) / 1000);
    return { emitted: built.emitted, deadLetters: outcome.deadLetters.length };
  }

  /** Folds until nothing is open: reservations answered, oversized documents refused. */
  private async foldPlanned(
    planned: readonly Planned[],
  ): Promise<{ outcome: StepOutcome; built: BuiltCommit }> {
    const { engine, keys, processor } = this.options;
    const members = await this.retry(() => this.members(planned));
    const { documents, refused } = await this.retry(() => this.load(planned, members));
    const read: ReadDocument = (document) => documents.get(document) ?? null;
    if (this.cautious && !refused.has(0)) await this.tryAlone(planned[0]!, documents, members, refused);
    const facts = new Map<string, boolean>();
    let checked = false;
    const check = (name: string, document: unknown): void => {
      if (document !== null) encodeDocument(processor, name, document);
    };
    // Each pass answers at least one reservation; the last may be one that finds who made a document too large.
    for (let passesLeft = planned.length + 4; passesLeft > 0; passesLeft -= 1) {
      const common = { planned, processor, ids: this.ids, read, members, facts, refused };
      const outcome = foldStep(checked ? { ...common, check } : common);
      if (await this.answer(outcome, facts, read)) continue;
      try {
        const replyTtlMs = engine.settings.replyTtlMs;
        const built = buildCommit({
          outcome,
          processor,
          keys,
          allKeys: engine.keys,
          ids: this.ids,
          replyTtlMs,
        });
        return { outcome, built };
      } catch (error) {
        if (checked || !(error instanceof DocumentTooLargeError)) throw error;
        checked = true;
      }
    }
    throw new Error('the step does not come to rest');
  }

  /** Asks for what the fold reserved. True when an answer was no, so that the step must be folded again. */
  private async answer(
    outcome: StepOutcome,
    facts: Map<string, boolean>,
    read: ReadDocument,
  ): Promise<boolean> {
    const { processor } = this.options;
    const open = outcome.reservations.filter(({ key }) => !facts.has(key));
    if (open.length === 0 || processor.reserve === undefined) return false;
    const staged: ReadDocument = (name) => {
      const written = outcome.documents.get(name);
      return written === undefined ? read(name) : written;
    };
    const answers: Facts = await this.retry(() => processor.reserve!(open, staged));
    let denied = false;
    for (const { key } of open) {
      const granted = answers.get(key) ?? false;
      facts.set(key, granted);
      denied ||= !granted;
    }
    return denied;
  }

  private async commit(commit: Commit, outcome: StepOutcome, built: BuiltCommit): Promise<void> {
    const { engine, keys } = this.options;
    let result: CommitResult;
    try {
      // Sent again until the answer is known. Who stops before it is leaves the answer in the head.
      result = await retryWhileAway(() => sendCommit(engine.redis, keys, commit), this.options.mayGoOn);
    } catch (error) {
      this.ids.discardStage();
      throw error;
    }
    if (result === 'FENCED' || result === 'STALE') throw new FencedError(`commit ${result}`);
    if (result === 'DIRTY')
      throw new Error('the head is dirty: a commit failed half-way (docs/failure-modes.md)');
    this.seq = commit.seq + 1;
    this.at = commit.at;
    this.committed = commit.position;
    this.ids.mergeStage();
    this.timers.committed(built.earliestTimerMs, outcome.firedTimers.length > 0);
    for (const [document, value] of outcome.documents) this.cache.put(document, value);
    if (this.cautious && !this.stillCautious(commit.position)) {
      this.cautious = false;
      this.cautiousUntil = '';
      this.options.log.info('inputs are folded together again');
    }
  }

  private stillCautious(position: string): boolean {
    if (!this.cautious) return false;
    return this.cautiousUntil === '' || compareEntryIds(position, this.cautiousUntil) < 0;
  }

  /** Index members for a step that is a single input with a range. */
  private async members(planned: readonly Planned[]): Promise<readonly string[]> {
    const { engine, keys, processor } = this.options;
    const only = planned.length === 1 ? planned[0]! : undefined;
    if (only === undefined || (only.kind !== 'message' && only.kind !== 'timer')) return [];
    const range = processor.range?.(only.input, this.readCached);
    if (range === undefined) return [];
    const index = keys.index(range.index);
    return engine.redis.zrange(index, String(range.scoreMin), '+inf', 'BYSCORE', 'LIMIT', 0, range.limit);
  }

  private load(planned: readonly Planned[], members: readonly string[]) {
    const { engine, keys, processor } = this.options;
    return loadDocuments({ redis: engine.redis, keys, cache: this.cache, processor, planned, members });
  }

  /** Folds one input in a process of its own; one that dies or hangs there, alone, is refused. */
  private async tryAlone(
    item: Planned,
    documents: ReadonlyMap<string, unknown>,
    members: readonly string[],
    refused: Map<number, string>,
  ): Promise<void> {
    if (item.kind !== 'message' && item.kind !== 'timer') return;
    const { engine, processor, log } = this.options;
    const texts = [...documents].map(
      ([name, document]) => [name, document === null ? null : processor.encode(name, document)] as const,
    );
    const verdict = await engine.probe.tryFold({
      topic: processor.topic,
      input: item.input,
      documents: texts,
      members,
    });
    if (verdict.survived) return;
    log.error({ reason: verdict.reason }, 'an input fails alone: it becomes a dead letter');
    refused.set(0, verdict.reason);
  }

  private readonly readCached: ReadDocument = (name) => this.cache.get(name) ?? null;

  private retry<T>(operation: () => Promise<T>): Promise<T> {
    return retryWhileAway(operation, this.options.mayGoOn);
  }
}
