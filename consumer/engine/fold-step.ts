import type { Effect } from '../../shared/effects.js';
import { errorText } from '../../shared/messages/error-text.js';
import type { Message } from '../../shared/messages/message.js';
import type { IdStore } from './id-store.js';
import type { Place, Planned } from './plan-step.js';
import type { Document, Facts, Processor, ReadDocument, Reservation } from './processor.js';

/** A dead letter in the making. */
export interface DeadLetter {
  readonly kind: 'message' | 'entry' | 'timer';
  /** The message as JSON, or the raw text of what was no message. */
  readonly text: string;
  readonly error: string;
  readonly attempts: number;
  readonly at: number;
  /** Of a message: what it is, for the log. */
  readonly message?: Pick<Message, 'id' | 'type' | 'request'>;
}

/** What folding a step amounts to. Nothing of it has happened until it is committed. */
export interface StepOutcome {
  /** How many of the planned inputs are in it: a timer set on the way may cut the step. */
  readonly consumed: number;
  /** Messages dealt with, whatever became of them. */
  readonly messages: number;
  readonly duplicates: number;
  readonly accepted: number;
  readonly documents: ReadonlyMap<string, Document | null>;
  readonly effects: readonly Effect[];
  readonly firedTimers: readonly string[];
  readonly deadLetters: readonly DeadLetter[];
  readonly reservations: readonly Reservation[];
  /** Entry id → verdicts on its messages, for the archive: `3d 7l2 9c` (see shared/messages/verdicts.ts). */
  readonly exceptions: Readonly<Record<string, string>>;
}

export interface FoldStepOptions {
  readonly planned: readonly Planned[];
  readonly processor: Processor;
  readonly ids: IdStore;
  /** Documents as committed. */
  readonly read: ReadDocument;
  /** Index members that `range` asked for: only where the step is a single input. */
  readonly members: readonly string[];
  readonly facts: Facts;
  /** Inputs that must not be folded, with the reason: they become dead letters. */
  readonly refused: ReadonlyMap<number, string>;
  /** Throws for a document that must not be written: the input that would write it becomes a dead letter. */
  readonly check?: (name: string, document: Document) => void;
}

/**
 * Folds the planned inputs in order. Pure but for the id store's stage, which it begins anew: the same options
 * give the same outcome, so a step may be folded again with more facts.
 */
export function foldStep(options: FoldStepOptions): StepOutcome {
  const step = new StepFold(options);
  options.ids.discardStage();
  const { planned } = options;
  let consumed = 0;
  for (; consumed < planned.length; consumed += 1) {
    const item = planned[consumed]!;
    if (consumed > 0 && step.mustEndBefore(item)) break;
    step.fold(item, consumed);
  }
  return step.outcome(consumed);
}

class StepFold {
  /**
   * Documents that this step writes bear it, and outlive the step: it holds nothing, or each would keep its whole
   * step in memory, that step the documents it read, and they the steps before.
   */
  private readonly mark = {};
  private earliestTimerMs = Infinity;
  private readonly touchedTimers = new Set<string>();
  private messages = 0;
  private duplicates = 0;
  private accepted = 0;
  private readonly documents = new Map<string, Document | null>();
  private readonly effects: Effect[] = [];
  private readonly firedTimers: string[] = [];
  private readonly deadLetters: DeadLetter[] = [];
  private readonly reservations: Reservation[] = [];
  private readonly exceptions: Record<string, string> = {};
  private readonly read: ReadDocument;

  constructor(private readonly options: FoldStepOptions) {
    this.read = (name) => {
      const written = this.documents.get(name);
      return written === undefined ? options.read(name) : written;
    };
  }

  /**
   * What was planned may be overtaken by what the step itself did: a timer it set comes first, a timer it moved or
   * cancelled no longer comes as planned. The next step is planned with the truth.
   */
  mustEndBefore(item: Planned): boolean {
    return (
      this.earliestTimerMs <= item.at || (item.kind === 'timer' && this.touchedTimers.has(item.timer.id))
    );
  }

  fold(item: Planned, index: number): void {
    switch (item.kind) {
      case 'message':
        this.messages += 1;
        this.foldMessage(item, index);
        break;
      case 'timer':
        this.firedTimers.push(item.timer.id);
        this.foldTimer(item, index);
        break;
      case 'broken':
        this.messages += item.letter === 'message' ? 1 : 0;
        if (item.letter === 'message') this.except(item, 'x');
        this.deadLetters.push({
          kind: item.letter,
          text: item.text,
          error: item.error,
          attempts: 1,
          at: item.at,
        });
        break;
      case 'empty':
        break;
    }
  }

  outcome(consumed: number): StepOutcome {
    const { messages, duplicates, accepted, documents, effects, firedTimers, deadLetters } = this;
    const { reservations, exceptions } = this;
    return {
      consumed,
      messages,
      duplicates,
      accepted,
      documents,
      effects,
      firedTimers,
      deadLetters,
      reservations,
      exceptions,
    };
  }

  private except({ place, index }: { readonly place: Place; readonly index: number }, verdict: string): void {
    if (this.options.processor.archived !== true) return;
    const { id } = place.entry;
    const before = this.exceptions[id];
    this.exceptions[id] = before === undefined ? `${index}${verdict}` : `${before} ${index}${verdict}`;
  }

  private foldMessage(item: Planned & { kind: 'message' }, index: number): void {
    const { ids } = this.options;
    const { message, at } = item;
    if (ids.isKnown(message, at)) {
      this.duplicates += 1;
      this.except(item, 'd');
      return;
    }
    const error = this.tryFold(item, index);
    if (error === undefined) {
      this.accepted += 1;
      ids.stage(message, at);
      return;
    }
    this.except(item, 'x');
    // A dead letter's id is not remembered: its replay must not be a duplicate.
    const attempts = (message.attempts ?? 0) + 1;
    this.deadLetters.push({
      kind: 'message',
      text: JSON.stringify({ ...message, attempts }),
      error,
      attempts,
      at,
      message,
    });
  }

  private foldTimer(item: Planned & { kind: 'timer' }, index: number): void {
    const error = this.tryFold(item, index);
    if (error === undefined) return;
    this.deadLetters.push({
      kind: 'timer',
      text: JSON.stringify(item.timer),
      error,
      attempts: 1,
      at: item.at,
    });
  }

  /** Takes over what the fold returns, or returns why it threw. */
  private tryFold(item: Planned & { kind: 'message' | 'timer' }, index: number): string | undefined {
    const refused = this.options.refused.get(index);
    if (refused !== undefined) return refused;
    const { processor, facts, members, check } = this.options;
    // What is checked must be among the writes, and must not be changed by an input that is refused for it.
    const mark = check === undefined ? this.mark : {};
    let result: ReturnType<Processor['fold']>;
    try {
      result = processor.fold(item, this.read, facts, members, mark);
      if (check !== undefined) for (const [name, document] of result.writes) check(name, document);
      for (const effect of result.effects) assertWritable(effect);
    } catch (error) {
      return errorText(error);
    }
    for (const [name, document] of result.writes) this.documents.set(name, document);
    for (const effect of result.effects) {
      this.effects.push(effect);
      if (effect.kind !== 'timer' && effect.kind !== 'cancel_timer') continue;
      this.touchedTimers.add(effect.id);
      if (effect.kind === 'timer') this.earliestTimerMs = Math.min(this.earliestTimerMs, effect.dueAt);
    }
    if (result.reservations !== undefined) this.reservations.push(...result.reservations);
    if (result.verdict !== undefined && item.kind === 'message') this.except(item, result.verdict);
    return undefined;
  }
}

/** What Redis would refuse to write would stop the partition in the middle of a commit, for ever. @throws Error */
function assertWritable(effect: Effect): void {
  if (effect.kind === 'timer' && !Number.isFinite(effect.dueAt))
    throw new Error(`timer ${effect.id} is due at no time`);
  if (effect.kind === 'index' && !Number.isFinite(effect.score))
    throw new Error(`${effect.member} of index ${effect.index} has no score`);
}
