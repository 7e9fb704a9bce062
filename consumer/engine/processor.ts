import type { Effect } from '../../shared/effects.js';
import type { DueTimer, Message } from '../../shared/messages/message.js';
import type { Topic } from '../../shared/topics.js';

/** What is folded: a message of the stream, with where it lies, or a timer that has come due. */
export type Input =
  | {
      readonly kind: 'message';
      readonly message: Message;
      readonly at: number;
      readonly place: { readonly entry: { readonly id: string } };
      /** Among the messages of its entry. */
      readonly index: number;
    }
  | { readonly kind: 'timer'; readonly timer: DueTimer; readonly at: number };

/** A decoded document; null where Redis has none. What it is, only the processor knows. */
export type Document = unknown;

/** Reads the documents that the processor named for this input, as earlier inputs of the batch left them. */
export type ReadDocument = (name: string) => Document | null;

/** Members of a secondary index that an input needs before its documents can be named. */
export interface IndexRange {
  readonly index: string;
  /** Members scored at or above this (ms), lowest first. */
  readonly scoreMin: number;
  readonly limit: number;
}

/** Something a fold wants that only a key of another slot can grant (the tripwire). */
export interface Reservation {
  /** Identifies the question within a batch: the same question gets the same answer. */
  readonly key: string;
  readonly rule: string;
  readonly subject: string;
}

/** Answers to reservations by key. A key without an answer counts as granted, and is asked for. */
export type Facts = ReadonlyMap<string, boolean>;

export interface FoldResult {
  /** Documents to write whole; null deletes. */
  readonly writes: readonly (readonly [name: string, document: Document | null])[];
  readonly effects: readonly Effect[];
  readonly reservations?: readonly Reservation[];
  /**
   * What the archive must know of this message besides that it was accepted: `l<revision>` (late) or `c` (cold).
   * Only where the processor is `archived`.
   */
  readonly verdict?: string;
}

/**
 * What a topic plugs into the engine. Everything but `reserve` is pure, so that the engine may fold an input
 * twice, or in another process, and get the same result.
 */
export interface Processor {
  readonly topic: Topic;
  decode(name: string, text: string): Document;
  encode(name: string, document: Document): string;
  /** Documents held in memory for as long as the partition is owned. */
  readonly pinned: readonly string[];
  /** False for a document that is rarely needed again: it is not kept in memory. Absent: all are. */
  caches?(name: string): boolean;
  /** The raw messages are kept elsewhere too: every step hands its verdicts to the outbox. */
  readonly archived?: boolean;
  /** True for a message that must not share a step with others (control messages). */
  foldsAlone(message: Message): boolean;
  range?(input: Input, read: ReadDocument): IndexRange | undefined;
  /** Names of the documents this input reads or writes; `members` is what `range` brought. */
  documents(input: Input, members: readonly string[]): readonly string[];
  /**
   * One of `documents` that most likely does not exist yet. A small step does not read it: the commit makes sure that it
   * is not there, and where it is the step is folded again with what was read.
   */
  fresh?(input: Input): string | undefined;
  /** Names of more documents, which only those of `documents` tell; `read` has what is committed of them. */
  follow?(input: Input, read: ReadDocument): readonly string[];
  /** When Redis may forget a document, ms of the partition's time; undefined: never. No fold may depend on it: `at` decides. */
  expiresAt?(name: string, document: Document): number | undefined;
  /**
   * @param step one object for each time a step is folded. A document that this step has written may be changed in
   *   place; any other may be the committed one, and must be copied first.
   * @throws anything, before it has changed any document of the step: the message, or the timer, becomes a dead
   *   letter (a timer's cannot be replayed).
   */
  fold(input: Input, read: ReadDocument, facts: Facts, members: readonly string[], step: object): FoldResult;
  /** What a partition begins with that Redis does not have but others remember. `at`: Redis time, ms. */
  bornAgain?(at: number, recalled: unknown): readonly (readonly [name: string, document: Document])[];
  /** Ids of the control messages applied, so that missing ones can be sent again; undefined: none on this topic. */
  appliedControls?(read: ReadDocument): readonly string[];
  /** Asks for the reservations of a whole batch, in order. Idempotent: a crash before the commit asks again. */
  reserve?(reservations: readonly Reservation[], read: ReadDocument): Promise<Facts>;
}
