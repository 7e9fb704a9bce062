import type { Message } from '../../shared/messages/message.js';
import { decodeEntry, type RawEntry } from '../../shared/messages/record-batch.js';
import type { Inside } from './head.js';

/** Thrown when the stream holds a record batch of a newer version: this worker must give the partition away. */
export class NewerEntryError extends Error {
  constructor(id: string, version: string) {
    super(`entry ${id} has record batch version ${version.slice(0, 20)}, newer than this worker knows`);
    this.name = 'NewerEntryError';
  }
}

/** An entry that was fetched and is not folded completely. */
export interface PendingEntry {
  readonly id: string;
  readonly atMs: number;
  /** Why it could not be decoded; it has no messages then. */
  readonly error?: string;
  readonly raw?: string;
  readonly messages: readonly Message[];
}

/** Where a fold stands: `position` is folded completely, and of the entry after it what `inside` says. */
export interface Cursor {
  readonly position: string;
  readonly inside: Inside | undefined;
}

/** Entries read ahead of the fold, in stream order. */
export class EntryBuffer {
  private entries: PendingEntry[] = [];
  private messageCount = 0;

  constructor(
    /** Last entry fetched. */
    private last: string,
    /** What is folded already of the first entry, where it is that entry. */
    private partly: Inside | undefined,
  ) {}

  get lastId(): string {
    return this.last;
  }

  get isEmpty(): boolean {
    return this.entries.length === 0;
  }

  /** Messages that wait here. */
  get messages(): number {
    return this.messageCount;
  }

  get pending(): readonly PendingEntry[] {
    return this.entries;
  }

  get inside(): Inside | undefined {
    return this.partly;
  }

  /** @throws NewerEntryError */
  push(raw: readonly RawEntry[]): void {
    for (const rawEntry of raw) {
      const decoded = decodeEntry(rawEntry);
      if (decoded.kind === 'newer') throw new NewerEntryError(decoded.id, decoded.version);
      this.last = decoded.id;
      if (decoded.kind === 'batch') {
        if (this.entries.length === 0) this.beginAt(decoded.id);
        this.entries.push({ id: decoded.id, atMs: decoded.atMs, messages: decoded.messages });
        this.messageCount += decoded.messages.length;
      } else {
        const { id, atMs, error, raw: text } = decoded;
        this.entries.push({ id, atMs, error, raw: text, messages: [] });
      }
    }
  }

  /** The fold has come to `cursor`: forget what lies before it. */
  advanceTo(cursor: Cursor): void {
    const done = this.entries.findIndex(({ id }) => id === cursor.position) + 1;
    for (const { messages } of this.entries.splice(0, done)) this.messageCount -= messages.length;
    // Messages of a first entry that are folded were taken off before; the entry is gone or still the first.
    if (done > 0) {
      this.messageCount += this.partly?.messages ?? 0;
      this.partly = undefined;
    }
    this.messageCount -= (cursor.inside?.messages ?? 0) - (this.partly?.messages ?? 0);
    this.partly = cursor.inside;
  }

  /** Only a new owner begins inside an entry: what its predecessor folded of it does not wait. */
  private beginAt(id: string): void {
    if (this.partly?.entry !== id) this.partly = undefined;
    this.messageCount -= this.partly?.messages ?? 0;
  }
}
