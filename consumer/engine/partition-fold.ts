import { performance } from 'node:perf_hooks';
import type { PartitionKeys } from '../../shared/keys.js';
import type { Logger } from '../../shared/logging.js';
import { type BuiltCommit, buildCommit, DocumentTooLargeError, encodeDocument } from './build-commit.js';
import { Caution } from './caution.js';
import { assertApplied, type Commit, type CommitResult, sendCommit } from './commit.js';
import { DocumentCache } from './document-cache.js';
import type { Engine } from './engine.js';
import type { Cursor, EntryBuffer } from './entry-buffer.js';
import { foldStep, type StepOutcome } from './fold-step.js';
import { IdStore } from './id-store.js';
import type { Lease } from './lease.js';
import { type LoadedDocuments, loadDocuments } from './load-documents.js';
import { cursorAfter, type Planned, planStep } from './plan-step.js';
import type { Facts, Processor, ReadDocument } from './processor.js';
import { retryWhileAway } from './retry.js';
import { type DueTimers, Timers } from './timers.js';

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

/** Text of the documents that a partition's cache holds at most. */
const CACHE_SIZE_MAX = 64 * 1024 * 1024;

/** Something that was taken for absent was there: so many steps read what they need. */
const STEPS_WITHOUT_ASSUMING = 64;

/** A plan with everything that folding it reads. */
export interface Prepared extends LoadedDocuments {
  readonly planned: readonly Planned[];
  readonly members: readonly string[];
}

interface Folded {
  readonly outcome: StepOutcome;
  readonly built: BuiltCommit;
  readonly last: Planned;
  readonly after: Cursor;
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
  private readonly caution: Caution;
  /** Until then nothing is taken for absent. */
  private assumeFromSeq = 0;

  constructor(private readonly options: PartitionFoldOptions) {
    const { engine, keys, processor, lease, log, name } = options;
    const { head } = lease;
    const { dedupeWindowMs, dedupeIdsMax, stateCacheMax } = engine.settings;
    this.cache = new DocumentCache(stateCacheMax, CACHE_SIZE_MAX, new Set(processor.pinned));
    this.ids = new IdStore(keys, head.seed, dedupeWindowMs, dedupeIdsMax, (ids) => {
      log.error({ ids, dedupeIdsMax }, 'id index full: the dedupe window is shorter than configured');
      engine.metrics.dedupeWindowCut(name);
    });
    this.timers = new Timers(keys, lease.nextDueMs);
    this.seq = head.seq;
    this.at = head.at;
    this.committed = head.position;
    this.caution = new Caution({ head, probe: engine.probe, processor, log });
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

  /** Reads back what an owner keeps in memory. */
  async restore(): Promise<void> {
    const { engine, lease } = this.options;
    await this.retry(() => this.ids.load(engine.redis, lease.head.ids));
    // The pinned documents.
    await this.retry(() => this.load([], []));
  }

  appliedControls(): readonly string[] | undefined {
    return this.options.processor.appliedControls?.(this.readCached);
  }

  /**
   * One step: at most `batchMessagesMax` inputs in one commit. Undefined when there is nothing to fold.
   * @param timersUntilMs how far time has come: the last entry's, or Redis' own when the stream is drained
   */
  async step(timersUntilMs: number): Promise<StepDone | undefined> {
    const { engine, buffer, name } = this.options;
    const started = performance.now();
    const due = await this.retry(() => this.timers.load(engine.redis, Math.max(this.at, timersUntilMs)));
    this.caution.look(buffer);
    const assume = !this.caution.isCareful && this.seq >= this.assumeFromSeq;
    let prepared = await this.prepare(this.plan(due), assume);
    if (prepared.planned.length === 0) return undefined;
    if (!(await this.caution.mayFold(prepared))) {
      prepared = await this.prepare(this.plan(due));
      await this.caution.mayFold(prepared);
    }
    let folded = await this.foldPlanned(prepared);
    if (!(await this.commit(folded))) {
      // Retries come in storms.
      this.assumeFromSeq = this.seq + STEPS_WITHOUT_ASSUMING;
      folded = await this.foldPlanned(await this.prepare(this.plan(due)));
      await this.commit(folded);
    }
    const { outcome, built, after } = folded;
    buffer.advanceTo(after);
    engine.metrics.committed(name, outcome, (performance.now() - started) / 1000);
    engine.complaints.committed(name, outcome);
    return { emitted: built.emitted, deadLetters: outcome.deadLetters.length };
  }

  private plan(timers: DueTimers): Planned[] {
    const { engine, buffer, processor } = this.options;
    return planStep({
      buffer,
      position: this.committed,
      headAt: this.at,
      timers,
      inputsMax: this.caution.inputsMax(engine.settings.batchMessagesMax),
      slotOf: (at) => this.ids.slotOf(at),
      processor,
      readPinned: this.readCached,
    });
  }

  /** Loads what a plan needs; a plan that needs too much is cut short. */
  private async prepare(plan: readonly Planned[], assume = false): Promise<Prepared> {
    const members = await this.retry(() => this.members(plan));
    const loaded = await this.retry(() => this.load(plan, members, assume));
    return { ...loaded, planned: plan.slice(0, loaded.complete), members };
  }

  /** Folds until nothing is open: reservations answered, whoever makes a document too large refused. */
  private async foldPlanned({ planned, members, documents, refused, assumed }: Prepared): Promise<Folded> {
    const { engine, keys, processor, buffer } = this.options;
    const from: Cursor = { position: this.committed, inside: buffer.inside };
    const read: ReadDocument = (document) => documents.get(document) ?? null;
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
        const last = planned[outcome.consumed - 1]!;
        const after = cursorAfter(last);
        const { replyTtlMs } = engine.settings;
        const { ids } = this;
        const where = { keys, allKeys: engine.keys, from, to: after, at: last.at };
        const built = buildCommit({ outcome, processor, ids, assumed, replyTtlMs, ...where });
        return { outcome, built, last, after };
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

  /** False: a document is there that was taken for absent; nothing was committed. */
  private async commit({ outcome, built, last, after }: Folded): Promise<boolean> {
    const { engine, keys, lease, name } = this.options;
    const { position, inside } = after;
    const commit: Commit = {
      ...{ lease: lease.value, seq: this.seq, position, inside, at: last.at, folded: outcome.messages },
      ...{ cautiousUntil: this.caution.headValue(position), ids: built.ids, commands: built.commands },
    };
    let result: CommitResult;
    try {
      // Sent again until the answer is known. Who stops before it is leaves the answer in the head.
      result = await this.retry(() => sendCommit(engine.redis, keys, commit));
    } catch (error) {
      this.ids.discardStage();
      throw error;
    }
    if (result.kind === 'PRESENT') {
      this.ids.discardStage();
      return false;
    }
    engine.metrics.unpublished(assertApplied(result, name));
    this.seq = commit.seq + 1;
    this.at = commit.at;
    this.committed = commit.position;
    this.ids.mergeStage();
    this.timers.committed(built.earliestTimerMs, outcome.firedTimers.length > 0);
    const { processor } = this.options;
    for (const [document, value] of outcome.documents) {
      if (processor.caches?.(document) === false) continue;
      this.cache.put(document, value, built.sizes.get(document) ?? 0);
    }
    this.caution.committed(commit.position);
    return true;
  }

  /** Index members for a step that is a single input with a range. */
  private async members(planned: readonly Planned[]): Promise<readonly string[]> {
    const { engine, keys, processor } = this.options;
    const only = planned.length === 1 ? planned[0]! : undefined;
    if (only === undefined || (only.kind !== 'message' && only.kind !== 'timer')) return [];
    const range = processor.range?.(only, this.readCached);
    if (range === undefined) return [];
    const index = keys.index(range.index);
    return engine.redis.zrange(index, String(range.scoreMin), '+inf', 'BYSCORE', 'LIMIT', 0, range.limit);
  }

  private load(planned: readonly Planned[], members: readonly string[], assume = false) {
    const { engine, keys, processor } = this.options;
    return loadDocuments({
      redis: engine.redis,
      keys,
      cache: this.cache,
      processor,
      planned,
      members,
      assume,
    });
  }

  private readonly readCached: ReadDocument = (name) => this.cache.get(name)?.document ?? null;

  private retry<T>(operation: () => Promise<T>): Promise<T> {
    return retryWhileAway(operation, this.options.mayGoOn, (error) =>
      this.options.log.warn({ err: error }, 'Redis does not take a step; still trying'),
    );
  }
}
