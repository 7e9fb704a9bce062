import type { Document } from './processor.js';

interface Cached {
  readonly document: Document | null;
  /** Length of its text. */
  readonly size: number;
}

/**
 * Documents as Redis holds them, least recently used first. Valid only while the lease is held: whoever loses the
 * lease throws the whole cache away. `null` remembers that Redis has none.
 */
export class DocumentCache {
  private readonly cached = new Map<string, Cached>();
  private totalSize = 0;

  /**
   * @param documentsMax how many are kept; 0 keeps none but the pinned
   * @param sizeMax how long their texts may be together
   */
  constructor(
    private readonly documentsMax: number,
    private readonly sizeMax: number,
    private readonly pinned: ReadonlySet<string>,
  ) {}

  /** undefined: not known, ask Redis. */
  get(name: string): Cached | undefined {
    return this.cached.get(name);
  }

  /** Puts it at the young end; what falls off the old end is dropped, pinned documents never. */
  put(name: string, document: Document | null, size: number): void {
    this.drop(name);
    this.cached.set(name, { document, size });
    this.totalSize += size;
    const countMax = this.documentsMax + this.pinned.size;
    for (const oldest of this.cached.keys()) {
      if (this.cached.size <= countMax && this.totalSize <= this.sizeMax) break;
      if (!this.pinned.has(oldest)) this.drop(oldest);
    }
  }

  private drop(name: string): void {
    const cached = this.cached.get(name);
    if (cached === undefined) return;
    this.totalSize -= cached.size;
    this.cached.delete(name);
  }
}
