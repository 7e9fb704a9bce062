import type { Message } from '../../shared/messages/message.js';
import { decodeEntry, type RawEntry } from '../../shared/messages/record-batch.js';

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

/** Where a fold stands: `position` folded completely, `offset` messages of the entry after it too. */
export interface Cursor {
  readonly position: string;
  readonly offset: number;
}

/** Entries read ahead of the fold, in stream order. */
export class EntryBuffer {
  private entries: PendingEntry[] = [];
  private messageCount = 0;
  /** Messages of the first entry that are folded already. */
  private firstOffset: number;

  constructor(
    /** Last entry fetched. */
    private last: string,
    offset: number,
  ) {
    this.firstOffset = offset;
  }

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

  get offset(): number {
    return this.firstOffset;
  }

  /** @throws NewerEntryError */
  push(raw: readonly RawEntry[]): void {
    for (const rawEntry of raw) {
      const decoded = decodeEntry(rawEntry);
      if (decoded.kind === 'newer') throw new NewerEntryError(decoded.id, decoded.version);
      this.last = decoded.id;
      if (decoded.kind === 'batch') {
        // Only a new owner begins inside an entry: what its predecessor folded of it does not wait.
        if (this.entries.length === 0)
          this.messageCount -= Math.min(this.firstOffset, decoded.messages.length);
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
    let done = 0;
    while (done < this.entries.length && this.entries[done]!.id !== cursor.position) done += 1;
    if (done < this.entries.length) {
      for (let i = 0; i <= done; i += 1) {
        this.messageCount -= this.entries[i]!.messages.length - (i === 0 ? this.firstOffset : 0);
      }
      this.entries.splice(0, done + 1);
      this.firstOffset = 0;
    }
    this.messageCount -= cursor.offset - this.firstOffset;
    this.firstOffset = cursor.offset;
  }
}
