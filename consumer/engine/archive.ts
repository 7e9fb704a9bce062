import type { Message } from '../../shared/messages/message.js';
import type { Judgement } from '../../shared/messages/verdicts.js';
import type { WindowEmission } from '../../shared/messages/window-emission.js';
import type { Partition } from '../../shared/topics.js';

export type { Judgement };

/** A message of the stream and what became of it. */
export interface JudgedEvent {
  /** The outbox entry that judges it. */
  readonly outbox: string;
  readonly entry: string;
  /** Among the messages of its entry. */
  readonly index: number;
  readonly judgement: Judgement;
  /** In which revision of its window it counted: 1 accepted; late: the one that gathered it; 0: none (yet). */
  readonly revision: number;
  readonly message: Message;
}

export interface ArchivedWindow {
  /** The outbox entry that brought it. */
  readonly outbox: string;
  readonly emission: WindowEmission;
}

export interface ArchiveBatch {
  readonly partition: Partition;
  /** In the order of the stream. */
  readonly events: readonly JudgedEvent[];
  /** In the order of the outbox. */
  readonly windows: readonly ArchivedWindow[];
  /** The outbox entry after which it begins, and the last one in it. */
  readonly from: string;
  readonly to: string;
  /** The stream entry up to which all messages are in this batch or in one before. */
  readonly position: string;
}

/** A row the store cannot take, for a reason that lies in the row. */
export interface RefusedEvent {
  readonly event: JudgedEvent;
  readonly error: string;
}

/** Keeps raw messages and what was made of them: Postgres. */
export interface Archive {
  /**
   * All of the batch, but for the rows it returns, or nothing. At least once: after a crash the same batch comes
   * again, perhaps cut differently.
   * @throws to be called again
   */
  write(batch: ArchiveBatch): Promise<readonly RefusedEvent[]>;
  /** Whether it has anything of this partition. @throws while it is away */
  remembers(partition: Partition): Promise<boolean>;
}
