import type { EmitEffect } from '../../shared/effects.js';
import type { Keys, PartitionKeys } from '../../shared/keys.js';
import { type CursorText, VERDICTS, type Verdicts } from '../../shared/messages/verdicts.js';
import { CommandList } from './command-list.js';
import type { Cursor } from './entry-buffer.js';
import type { StepOutcome } from './fold-step.js';
import type { IdStore } from './id-store.js';
import type { Document, Processor } from './processor.js';

/** Emissions that share one outbox entry: a sink reads entries by number, and must know how much that can be. */
const JOINED_MAX = 100;

/** A document may not be larger: what Redis would choke on is refused before it is sent. */
export const DOCUMENT_BYTES_MAX = 1024 * 1024;

export class DocumentTooLargeError extends Error {
  constructor(name: string, bytes: number) {
    super(`document ${name} would have ${bytes} bytes, the bound is ${DOCUMENT_BYTES_MAX}`);
    this.name = 'DocumentTooLargeError';
  }
}

/** The text of a document. @throws DocumentTooLargeError */
export function encodeDocument(processor: Processor, name: string, document: Document): string {
  const text = processor.encode(name, document);
  // A UTF-16 unit takes at most 3 bytes: measure exactly only what might be too large.
  if (text.length * 3 > DOCUMENT_BYTES_MAX) {
    const bytes = Buffer.byteLength(text);
    if (bytes > DOCUMENT_BYTES_MAX) throw new DocumentTooLargeError(name, bytes);
  }
  return text;
}

export interface BuiltCommit {
  readonly commands: CommandList;
  /** New bookkeeping of the id store; empty: unchanged. */
  readonly ids: string;
  /** Due time of the earliest timer this step sets; Infinity: none. */
  readonly earliestTimerMs: number;
  readonly emitted: number;
  /** Length of the text of every document written. */
  readonly sizes: ReadonlyMap<string, number>;
}

export interface BuildOptions {
  readonly outcome: StepOutcome;
  readonly processor: Processor;
  readonly keys: PartitionKeys;
  readonly allKeys: Keys;
  readonly ids: IdStore;
  /** Names of documents that the fold took for absent. */
  readonly assumed: readonly string[];
  readonly replyTtlMs: number;
  /** The partition's time when the step is over, ms. */
  readonly at: number;
  /** Where the step begins and ends. */
  readonly from: Cursor;
  readonly to: Cursor;
}

/**
 * Turns the outcome of a step into the commands of its commit. Documents are written whole, timers and index
 * entries once each with their final value, so that the order among the groups does not matter.
 * @throws DocumentTooLargeError
 */
export function buildCommit(options: BuildOptions): BuiltCommit {
  const { outcome, keys, ids, assumed } = options;
  const commands = new CommandList(assumed.map((name) => keys.doc(name)));
  const sizes = writeDocuments(options, commands);
  const earliestTimerMs = writeTimers(outcome, keys, commands);
  writeIndexes(outcome, keys, commands);
  const emitted = writeMessages(options, commands);
  for (const letter of outcome.deadLetters) {
    const { text, error, attempts, at, kind } = letter;
    const fields = ['m', text, 'error', error, 'attempts', attempts, 'at', at, 'kind', kind];
    commands.add('XADD', keys.dead, '*', ...fields);
  }
  return { commands, ids: ids.writeStage(commands), earliestTimerMs, emitted, sizes };
}

function writeDocuments(
  { outcome, processor, keys, at }: BuildOptions,
  commands: CommandList,
): ReadonlyMap<string, number> {
  const sizes = new Map<string, number>();
  const set: [key: string, text: string][] = [];
  const deleted: string[] = [];
  for (const [name, document] of outcome.documents) {
    if (document === null) {
      deleted.push(keys.doc(name));
      continue;
    }
    const text = encodeDocument(processor, name, document);
    sizes.set(name, text.length);
    const expiresAt = processor.expiresAt?.(name, document);
    if (expiresAt === undefined) set.push([keys.doc(name), text]);
    // Counted from now, not from `at`: a fold that lags must not lose it before its time comes to that.
    else commands.add('SET', keys.doc(name), text, 'PX', Math.max(1, Math.ceil(expiresAt - at)));
  }
  commands.addTexts(set);
  commands.addUnlink(deleted);
  return sizes;
}

function writeTimers(outcome: StepOutcome, keys: PartitionKeys, commands: CommandList): number {
  /** Timer id → due time; null: removed. A timer that fired is gone unless it was set again. */
  const timers = new Map<string, number | null>(outcome.firedTimers.map((id) => [id, null]));
  for (const effect of outcome.effects) {
    if (effect.kind === 'timer') timers.set(effect.id, effect.dueAt);
    else if (effect.kind === 'cancel_timer') timers.set(effect.id, null);
  }
  const set: (string | number)[] = [];
  const removed: string[] = [];
  let earliest = Infinity;
  for (const [id, dueAt] of timers) {
    if (dueAt === null) {
      removed.push(id);
    } else {
      set.push(dueAt, id);
      earliest = Math.min(earliest, dueAt);
    }
  }
  commands.addSplit('ZADD', keys.timers, set, 2);
  commands.addSplit('ZREM', keys.timers, removed, 1);
  return earliest;
}

function writeIndexes(outcome: StepOutcome, keys: PartitionKeys, commands: CommandList): void {
  const indexes = new Map<string, Map<string, number | null>>();
  for (const effect of outcome.effects) {
    if (effect.kind !== 'index' && effect.kind !== 'unindex') continue;
    const members = indexes.get(effect.index) ?? new Map<string, number | null>();
    indexes.set(effect.index, members);
    members.set(effect.member, effect.kind === 'index' ? effect.score : null);
  }
  for (const [name, members] of indexes) {
    const set: (string | number)[] = [];
    const removed: string[] = [];
    for (const [member, score] of members) {
      if (score === null) removed.push(member);
      else set.push(score, member);
    }
    commands.addSplit('ZADD', keys.index(name), set, 2);
    commands.addSplit('ZREM', keys.index(name), removed, 1);
  }
}

/**
 * Outbox entries and replies, in the order of the fold, after the verdicts: whoever reads what a step emitted has
 * read what became of its messages. Returns how many outbox entries there are.
 */
function writeMessages(options: BuildOptions, commands: CommandList): number {
  const { outcome, keys, allKeys, replyTtlMs } = options;
  let emitted = 0;
  const verdicts = verdictsOf(options);
  if (verdicts !== undefined) {
    commands.add('XADD', keys.outbox, '*', 'type', VERDICTS, 'body', JSON.stringify(verdicts));
    emitted += 1;
  }
  const emit = (type: string, body: string): void => {
    commands.add('XADD', keys.outbox, '*', 'type', type, 'body', body);
    emitted += 1;
  };
  const joined = new Joined(emit);
  for (const effect of outcome.effects) {
    if (effect.kind === 'emit') {
      if (effect.joins === true) {
        joined.add(effect);
        continue;
      }
      joined.flush();
      emit(effect.type, JSON.stringify(effect.body));
    } else if (effect.kind === 'reply') {
      const slash = effect.to.indexOf('/');
      const replyId = effect.to.slice(slash + 1);
      const body = JSON.stringify(effect.body);
      const channel = allKeys.replyChannel(effect.to.slice(0, slash));
      commands.add('REPLY', keys.reply(replyId), body, replyTtlMs, channel, replyId);
    }
  }
  joined.flush();
  return emitted;
}

/** Gathers emissions that share an outbox entry. */
class Joined {
  private type = '';
  private bodies: string[] = [];

  constructor(private readonly emit: (type: string, body: string) => void) {}

  add({ type, body }: EmitEffect): void {
    if (type !== this.type || this.bodies.length >= JOINED_MAX) this.flush();
    this.type = type;
    this.bodies.push(JSON.stringify(body));
  }

  flush(): void {
    if (this.bodies.length > 0) this.emit(this.type, `[${this.bodies.join(',')}]`);
    this.bodies = [];
  }
}

/** Undefined where nothing is archived, and for a step of timers alone. */
function verdictsOf({ outcome, processor, from, to }: BuildOptions): Verdicts | undefined {
  if (processor.archived !== true) return undefined;
  if (outcome.messages === 0 && from.position === to.position) return undefined;
  const verdicts = { f: cursorText(from), t: cursorText(to), n: outcome.messages };
  for (const _entry in outcome.exceptions) return { ...verdicts, x: outcome.exceptions };
  return verdicts;
}

function cursorText({ position, inside }: Cursor): CursorText {
  return [position, inside?.entry ?? '', inside?.messages ?? 0];
}
