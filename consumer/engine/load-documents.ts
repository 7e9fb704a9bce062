import type { Redis } from 'ioredis';
import type { PartitionKeys } from '../../shared/keys.js';
import { NewerDocumentError } from '../../shared/state/state-codec.js';
import type { DocumentCache } from './document-cache.js';
import { describeError } from './fold-step.js';
import type { Planned } from './plan-step.js';
import type { Document, Processor } from './processor.js';

/** Documents per MGET. */
const DOCUMENTS_PER_READ = 500;

export interface LoadedDocuments {
  readonly documents: ReadonlyMap<string, Document | null>;
  /** Inputs whose documents cannot be named or decoded, with the reason. */
  readonly refused: Map<number, string>;
}

export interface LoadOptions {
  readonly redis: Redis;
  readonly keys: PartitionKeys;
  readonly cache: DocumentCache;
  readonly processor: Processor;
  readonly planned: readonly Planned[];
  readonly members: readonly string[];
}

/**
 * Brings the documents of a step into memory: from the cache where it has them, else from Redis. They stay
 * reachable for the whole step, whatever the cache drops meanwhile.
 * @throws NewerDocumentError when a document is of a newer version: the partition must be given away
 */
export async function loadDocuments(options: LoadOptions): Promise<LoadedDocuments> {
  const { cache, processor, planned, members } = options;
  const documents = new Map<string, Document | null>();
  const refused = new Map<number, string>();
  const missing = new Map<string, number[]>();
  for (const name of processor.pinned) want(name, -1);
  for (const [index, item] of planned.entries()) {
    if (item.kind !== 'message' && item.kind !== 'timer') continue;
    try {
      for (const name of processor.documents(item.input, members)) want(name, index);
    } catch (error) {
      refused.set(index, describeError(error));
    }
  }
  if (missing.size > 0) await readMissing(options, missing, documents, refused);
  return { documents, refused };

  function want(name: string, index: number): void {
    const users = missing.get(name);
    if (users !== undefined) {
      users.push(index);
      return;
    }
    if (documents.has(name)) return;
    const cached = cache.get(name);
    if (cached === undefined) missing.set(name, [index]);
    else documents.set(name, cached);
  }
}

async function readMissing(
  { redis, keys, cache, processor }: LoadOptions,
  missing: ReadonlyMap<string, readonly number[]>,
  documents: Map<string, Document | null>,
  refused: Map<number, string>,
): Promise<void> {
  const names = [...missing.keys()];
  const reads: Promise<(string | null)[]>[] = [];
  for (let start = 0; start < names.length; start += DOCUMENTS_PER_READ) {
    const part = names.slice(start, start + DOCUMENTS_PER_READ);
    reads.push(redis.mget(...part.map((name) => keys.doc(name))));
  }
  const texts = (await Promise.all(reads)).flat();
  for (const [i, name] of names.entries()) {
    const text = texts[i]!;
    let document: Document | null = null;
    if (text !== null) {
      try {
        document = processor.decode(name, text);
      } catch (error) {
        // Without the documents that belong to no single input, nothing can be folded.
        if (error instanceof NewerDocumentError || processor.pinned.includes(name)) throw error;
        // One unreadable document must not stop its neighbours: what needs it becomes a dead letter.
        for (const index of missing.get(name)!)
          refused.set(index, `document ${name}: ${describeError(error)}`);
        continue;
      }
    }
    documents.set(name, document);
    cache.put(name, document);
  }
}
