/**
 * One message, as it lies in a record batch. Everything that changes decisions is one of these.
 * The API validates before it appends; a worker checks again only what it needs to stay alive.
 */
export interface Message<Data = unknown> {
  /** Who made the id: the `source` of a CloudEvent. First in the text, see SOURCE_FIRST. Absent: the subject did. */
  readonly source?: string;
  /** What it is: an event name, `override_put`, `control`, … */
  readonly type: string;
  /** Absent means tenant `default`. */
  readonly tenant?: string;
  /** Whose state it changes. Decides the partition. */
  readonly subject: string;
  /** Dedupe id: unique per tenant, subject and source. */
  readonly id: string;
  readonly data: Data;
  /** The producer's own time (ms since the epoch), carried as information: no decision uses it. */
  readonly timestamp?: number;
  /** `X-Request-Id` of the call that brought it, for the logs. */
  readonly request?: string;
  /** Who waits for a reply: `<api process>/<reply id>`. */
  readonly reply?: string;
  /** How often it has been a dead letter already. */
  readonly attempts?: number;
}

/** How the text of a message with a source begins, and no other: it needs another version of the record batch. */
export const SOURCE_FIRST = '{"source":';

/** A timer that has come due. `at` of its fold is the later of its due time and the partition's `at`. */
export interface DueTimer {
  readonly id: string;
  /** ms since the epoch. */
  readonly dueAt: number;
}
