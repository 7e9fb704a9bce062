import type { Redis } from 'ioredis';
import type { PartitionKeys } from '../../shared/keys.js';
import { errorText } from '../../shared/messages/error-text.js';
import { NewerDocumentError } from '../../shared/state/state-codec.js';
import type { DocumentCache } from './document-cache.js';
import type { Planned } from './plan-step.js';
import type { Document, Processor, ReadDocument } from './processor.js';

/** Documents per MGET. */
const DOCUMENTS_PER_READ = 500;
/** Documents of the first read of a step: it shows how large they are. */
const DOCUMENTS_OF_FIRST_READ = 100;
/**
 * Text of the documents that one step may read, and so about what it may write: Redis must take it, and answer,
 * well within a command's timeout.
 */
const STEP_SIZE_MAX = 8 * 1024 * 1024;

/** A larger step reads what it needs: the round trip is shared by many. */
const ASSUMED_MAX = 256;

export interface LoadedDocuments {
  readonly documents: ReadonlyMap<string, Document | null>;
  /** Inputs whose documents cannot be named or decoded, with the reason. */
  readonly refused: Map<number, string>;
  /** How many of the planned inputs have their documents here: the rest were too much for one step. */
  readonly complete: number;
  /** Documents that were taken for absent and not read. */
  readonly assumed: readonly string[];
}

export interface LoadOptions {
  readonly redis: Redis;
  readonly keys: PartitionKeys;
  readonly cache: DocumentCache;
  readonly processor: Processor;
  readonly planned: readonly Planned[];
  readonly members: readonly string[];
  /** Take for absent what the processor says is fresh, without reading it. */
  readonly assume: boolean;
}

/**
 * Brings the documents of a step into memory: from the cache where it has them, else from Redis. They stay
 * reachable for the whole step, whatever the cache drops meanwhile. A step whose documents are too large is cut
 * short, after its first input at the earliest.
 * @throws NewerDocumentError when a document is of a newer version: the partition must be given away
 */
export async function loadDocuments(options: LoadOptions): Promise<LoadedDocuments> {
  const load = new Load(options);
  load.nameAll();
  await load.readMissing();
  if (options.processor.follow !== undefined && load.follow(options.processor.follow))
    await load.readMissing();
  const { documents, refused, complete, assumed } = load;
  return { documents, refused, complete, assumed };
}

class Load {
  readonly documents = new Map<string, Document | null>();
  readonly refused = new Map<number, string>();
  complete: number;
  /** Name → inputs that want it, in the order in which they are wanted. */
  private missing = new Map<string, number[]>();
  readonly assumed: string[] = [];
  private size = 0;

  constructor(private readonly options: LoadOptions) {
    this.complete = options.planned.length;
  }

  /** Asks every input for its documents and takes from the cache what it has. */
  nameAll(): void {
    const { processor, planned, members } = this.options;
    const assume = this.options.assume && planned.length <= ASSUMED_MAX;
    for (const name of processor.pinned) this.want(name, -1);
    for (const [index, item] of planned.entries()) {
      if (index > 0 && this.size > STEP_SIZE_MAX) {
        this.complete = index;
        return;
      }
      if (item.kind !== 'message' && item.kind !== 'timer') continue;
      try {
        if (assume) this.assumeAbsent(processor.fresh?.(item));
        for (const name of processor.documents(item, members)) this.want(name, index);
      } catch (error) {
        this.refused.set(index, errorText(error));
      }
    }
  }

  /** Asks every input for what its documents lead to. True when something of it is to be read. */
  follow(follow: NonNullable<Processor['follow']>): boolean {
    const { planned, processor } = this.options;
    const read: ReadDocument = (name) => this.documents.get(name) ?? null;
    this.missing = new Map();
    for (let index = 0; index < this.complete; index++) {
      const item = planned[index]!;
      if ((item.kind !== 'message' && item.kind !== 'timer') || this.refused.has(index)) continue;
      try {
        for (const name of follow.call(processor, item, read)) this.want(name, index);
      } catch (error) {
        this.refused.set(index, errorText(error));
      }
    }
    return this.missing.size > 0;
  }

  /** Reads what is missing: a first piece to see how large they are, then as much as a step may have. */
  async readMissing(): Promise<void> {
    const names = [...this.missing.keys()];
    await this.read(names.slice(0, DOCUMENTS_OF_FIRST_READ));
    const rest = names.slice(DOCUMENTS_OF_FIRST_READ);
    if (rest.length === 0) return;
    const average = Math.max(1, this.size / (DOCUMENTS_OF_FIRST_READ + this.documents.size));
    const fits = Math.floor(Math.max(0, STEP_SIZE_MAX - this.size) / average);
    // The first input gets all of its documents, however large: a step is never less than one input.
    const ofLater = rest.findIndex((name) => this.missing.get(name)![0]! > 0);
    const room = Math.max(fits, ofLater === -1 ? rest.length : ofLater);
    const reads: Promise<void>[] = [];
    for (let start = 0; start < Math.min(room, rest.length); start += DOCUMENTS_PER_READ) {
      reads.push(this.read(rest.slice(start, Math.min(start + DOCUMENTS_PER_READ, room))));
    }
    await Promise.all(reads);
    const [tooMuch] = rest.slice(room);
    if (tooMuch === undefined) return;
    // Inputs before the first one that lacks a document have all of theirs: names are in the order of the inputs.
    this.complete = Math.min(this.complete, this.missing.get(tooMuch)![0]!);
  }

  private assumeAbsent(name: string | undefined): void {
    if (name === undefined || this.documents.has(name) || this.missing.has(name)) return;
    if (this.options.cache.get(name) !== undefined) return;
    this.documents.set(name, null);
    this.assumed.push(name);
  }

  private want(name: string, index: number): void {
    const users = this.missing.get(name);
    if (users !== undefined) {
      users.push(index);
      return;
    }
    if (this.documents.has(name)) return;
    const cached = this.options.cache.get(name);
    if (cached === undefined) {
      this.missing.set(name, [index]);
      return;
    }
    this.documents.set(name, cached.document);
    this.size += cached.size;
  }

  private async read(names: readonly string[]): Promise<void> {
    if (names.length === 0) return;
    const { redis, keys } = this.options;
    const texts = await redis.mget(names.map((name) => keys.doc(name)));
    for (const [i, name] of names.entries()) this.take(name, texts[i]!);
  }

  private take(name: string, text: string | null): void {
    const { cache, processor } = this.options;
    let document: Document | null = null;
    if (text !== null) {
      try {
        document = processor.decode(name, text);
      } catch (error) {
        // Without the documents that belong to no single input, nothing can be folded.
        if (error instanceof NewerDocumentError || processor.pinned.includes(name)) throw error;
        // One unreadable document must not stop its neighbours: what needs it becomes a dead letter.
        for (const index of this.missing.get(name)!)
          this.refused.set(index, `document ${name}: ${errorText(error)}`);
        return;
      }
      this.size += text.length;
    }
    this.documents.set(name, document);
    if (processor.caches?.(name) !== false) cache.put(name, document, text?.length ?? 0);
  }
}
