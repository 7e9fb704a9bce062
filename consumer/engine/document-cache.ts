import type { Document } from './processor.js';

/**
 * Documents as Redis holds them, least recently used first. Valid only while the lease is held: whoever loses the
 * lease throws the whole cache away. `null` remembers that Redis has none.
 */
export class DocumentCache {
  private readonly documents = new Map<string, Document | null>();

  /** @param documentsMax how many are kept; 0 keeps none but the pinned */
  constructor(
    private readonly documentsMax: number,
    private readonly pinned: ReadonlySet<string>,
  ) {}

  /** undefined: not known, ask Redis. */
  get(name: string): Document | null | undefined {
    return this.documents.get(name);
  }

  /** Puts it at the young end; what falls off the old end is dropped, pinned documents never. */
  put(name: string, document: Document | null): void {
    this.documents.delete(name);
    this.documents.set(name, document);
    if (this.documents.size > this.documentsMax + this.pinned.size) this.dropOldest();
  }

  private dropOldest(): void {
    for (const name of this.documents.keys()) {
      if (this.pinned.has(name)) continue;
      this.documents.delete(name);
      return;
    }
  }
}
