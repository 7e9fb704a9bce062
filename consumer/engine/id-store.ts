import type { Redis } from 'ioredis';
import type { PartitionKeys } from '../../shared/keys.js';
import type { Message } from '../../shared/messages/message.js';
import { DEFAULT_TENANT } from '../../shared/topics.js';
import type { CommandList } from './command-list.js';
import { IdHasher } from './id-hash.js';
import { IdSet } from './id-set.js';

/**
 * Which message ids a partition has seen.
 *
 * The index is in the owner's memory; Redis keeps the same hashes in chunked strings, 8 bytes each, appended by
 * every commit, from which a new owner reads them back. Two generations make the sliding window: an id is a
 * duplicate if the generation of this slot of time (`floor(at / windowMs)`) or of the slot before has it, so an id is
 * remembered for at least `windowMs` and less than twice that. A step never crosses a slot. A generation that
 * reaches `idsMax` ends early: memory stays bounded and the window gets shorter, which is counted and logged.
 *
 * What a step adds is staged, and becomes part of the index when its commit is confirmed.
 *
 * Sources. Of a message that has one the identity is source and id. Before weir knew sources it was the id alone, and
 * while API processes of both versions run the same message may come with its source, and again without. So in a
 * partition that had ids before its first message with a source came, for the rest of that slot and the next one
 * (`mixedUntilMs`):
 *
 *   - a message with a source is also a duplicate of one without that has its id,
 *   - a message without one is also a duplicate of one with a source, whose id is staged once more for that.
 *
 * Two sources are told apart from the first message on. A worker that knows no sources drops `mixedUntilMs` from the
 * bookkeeping, and the next one begins anew.
 */
const ID_BYTES = 8;
/** 4,094 ids and the string's header make 32,758 bytes, just inside an allocation class of 32 KiB. */
export const CHUNK_IDS = 4094;
const CHUNKS_PER_READ = 64;

interface Generation {
  readonly number: number;
  /** Slot of time it belongs to. */
  readonly slot: number;
  readonly ids: IdSet;
  chunks: number;
  idsInLastChunk: number;
}

/** `head.ids`: number, slot and chunks of each generation that Redis holds, oldest first; of the last `mixedUntilMs`. */
type StoredIds = [number: number, slot: number, chunks: number, mixedUntilMs?: number][];

type Identity = Pick<Message, 'tenant' | 'subject' | 'source' | 'id'>;

export class IdStore {
  readonly hasher: IdHasher;
  private current: Generation = newGeneration(0, 0);
  private previous: Generation | undefined;
  private readonly staged = new IdSet();
  /** hi, lo, hi, lo … of the staged ids in order. */
  private stagedHalves: number[] = [];
  private stagedAt = 0;
  /** The hash of the message that `isKnown` was asked about last. */
  private hi = 0;
  private lo = 0;
  private afterCommit: (() => void) | undefined;
  /** Undefined: no message with a source came yet, and ids without one did. A new partition has no such ids. */
  private mixedUntilMs: number | undefined = 0;
  /** What this step makes of it. */
  private stagedMixedUntilMs: number | undefined;

  constructor(
    private readonly keys: PartitionKeys,
    seed: string,
    private readonly windowMs: number,
    private readonly idsMax: number,
    private readonly onEarlyEnd: (ids: number) => void,
  ) {
    this.hasher = new IdHasher(seed);
  }

  get size(): number {
    return this.current.ids.size + (this.previous?.ids.size ?? 0);
  }

  /** A step must not cross from one slot into the next. */
  slotOf(at: number): number {
    return Math.floor(at / this.windowMs);
  }

  /** Whether the message came before, in this step's stage or earlier. */
  isKnown(message: Identity, at: number): boolean {
    this.hash(message, identityOf(message));
    this.hi = this.hasher.hi;
    this.lo = this.hasher.lo;
    if (this.has(at)) return true;
    const { source, id } = message;
    const mixedUntilMs = this.mixedUntilMs ?? this.stagedMixedUntilMs;
    if (source !== undefined) {
      // Undefined: whatever lies here may have had a source that was not looked at.
      if (!this.isMixed(mixedUntilMs ?? Infinity, at)) return false;
      this.hash(message, id);
      return this.has(at, mixedUntilMs);
    }
    if (mixedUntilMs === undefined || !this.isMixed(mixedUntilMs, at)) return false;
    this.hash(message, ofAnySource(id));
    return this.has(at, mixedUntilMs);
  }

  /** Remembers the message that `isKnown` was asked about last. */
  stage(message: Identity, at: number): void {
    this.stagedAt = at;
    this.stageHash(this.hi, this.lo);
    if (message.source === undefined) return;
    if (this.mixedUntilMs === undefined) {
      this.stagedMixedUntilMs = (this.slotOf(at) + 2) * this.windowMs;
    }
    if (at >= (this.mixedUntilMs ?? Infinity)) return;
    this.hash(message, ofAnySource(message.id));
    this.stageHash(this.hasher.hi, this.hasher.lo);
  }

  private hash({ tenant, subject }: Identity, identity: string): void {
    this.hasher.hash(tenant ?? DEFAULT_TENANT, subject, identity);
  }

  private stageHash(hi: number, lo: number): void {
    this.staged.add(hi, lo);
    this.stagedHalves.push(hi, lo);
  }

  /** Whether a generation that still counts at `at` began before. */
  private isMixed(untilMs: number, at: number): boolean {
    return (this.slotOf(at) - 1) * this.windowMs < untilMs;
  }

  /** Whether the hash in `hasher` is there; looks only at generations that began before `beforeMs`. */
  private has(at: number, beforeMs = Infinity): boolean {
    const { hi, lo } = this.hasher;
    const oldest = this.slotOf(at) - 1;
    const newest = Math.ceil(beforeMs / this.windowMs) - 1;
    const { current, previous } = this;
    const counts = ({ slot }: Generation): boolean => slot >= oldest && slot <= newest;
    return (
      (counts(current) && current.ids.has(hi, lo)) ||
      (previous !== undefined && counts(previous) && previous.ids.has(hi, lo)) ||
      (oldest < newest && this.staged.has(hi, lo))
    );
  }

  discardStage(): void {
    this.staged.clear();
    this.stagedHalves = [];
    this.stagedMixedUntilMs = undefined;
    this.afterCommit = undefined;
  }

  /** Adds the commands that persist the stage; returns the new bookkeeping, empty if nothing changed. */
  writeStage(commands: CommandList): string {
    const count = this.stagedHalves.length / 2;
    if (count === 0) return '';
    const { current, previous } = this;
    const slot = this.slotOf(this.stagedAt);
    const full = current.ids.size >= this.idsMax;
    const begins = slot > current.slot || full;
    const target = begins ? newGeneration(current.number + 1, Math.max(slot, current.slot)) : current;
    const kept = begins ? (current.slot >= slot - 1 ? current : undefined) : previous;
    for (const generation of [previous, current]) {
      if (generation !== undefined && generation !== kept && generation !== target) {
        dropGeneration(this.keys, generation, commands);
      }
    }
    const layout = this.appendChunks(target, count, commands);
    const stored: StoredIds = kept === undefined ? [] : [[kept.number, kept.slot, kept.chunks]];
    const mixedUntilMs = this.mixedUntilMs ?? this.stagedMixedUntilMs;
    const mixed: [] | [number] = mixedUntilMs === undefined ? [] : [mixedUntilMs];
    stored.push([target.number, target.slot, layout.chunks, ...mixed]);
    this.afterCommit = () => {
      this.mixedUntilMs = mixedUntilMs;
      if (full) this.onEarlyEnd(current.ids.size);
      this.current = target;
      this.previous = kept;
      target.chunks = layout.chunks;
      target.idsInLastChunk = layout.idsInLastChunk;
      for (let i = 0; i < count; i += 1)
        target.ids.add(this.stagedHalves[2 * i]!, this.stagedHalves[2 * i + 1]!);
    };
    return JSON.stringify(stored);
  }

  /** The commit is confirmed: the stage becomes part of the index. */
  mergeStage(): void {
    this.afterCommit?.();
    this.discardStage();
  }

  private appendChunks(
    target: Generation,
    count: number,
    commands: CommandList,
  ): { chunks: number; idsInLastChunk: number } {
    let { chunks, idsInLastChunk } = target;
    for (let done = 0; done < count; ) {
      if (chunks === 0 || idsInLastChunk === CHUNK_IDS) {
        chunks += 1;
        idsInLastChunk = 0;
      }
      const now = Math.min(count - done, CHUNK_IDS - idsInLastChunk);
      const bytes = Buffer.allocUnsafe(now * ID_BYTES);
      for (let i = 0; i < now * 2; i += 1) bytes.writeUInt32LE(this.stagedHalves[done * 2 + i]!, i * 4);
      const key = this.keys.ids(target.number, chunks - 1);
      commands.add('APPEND', key, bytes);
      idsInLastChunk += now;
      done += now;
      // APPEND leaves up to as much slack again; a chunk that is full is written once more without it.
      if (idsInLastChunk === CHUNK_IDS) commands.add('COMPACT', key);
    }
    return { chunks, idsInLastChunk };
  }

  /** Reads the index back from Redis, in bounded pieces. */
  async load(redis: Redis, bookkeeping: string): Promise<void> {
    if (bookkeeping === '') return;
    const stored = JSON.parse(bookkeeping) as StoredIds;
    const loaded: Generation[] = [];
    for (const [number, slot, chunks] of stored) {
      loaded.push(await this.loadGeneration(redis, newGeneration(number, slot), chunks));
    }
    this.current = loaded.at(-1) ?? newGeneration(0, 0);
    this.previous = loaded.at(-2);
    this.mixedUntilMs = stored.at(-1)?.[3];
  }

  private async loadGeneration(redis: Redis, generation: Generation, chunks: number): Promise<Generation> {
    generation.chunks = chunks;
    for (let first = 0; first < chunks; first += CHUNKS_PER_READ) {
      const names = Array.from({ length: Math.min(CHUNKS_PER_READ, chunks - first) }, (_, i) =>
        this.keys.ids(generation.number, first + i),
      );
      for (const bytes of await redis.mgetBuffer(...names)) {
        if (bytes === null)
          throw new Error(`ids of generation ${generation.number} are missing from Redis (npm run repair)`);
        generation.idsInLastChunk = bytes.length / ID_BYTES;
        for (let i = 0; i < bytes.length; i += ID_BYTES) {
          generation.ids.add(bytes.readUInt32LE(i), bytes.readUInt32LE(i + 4));
        }
      }
    }
    return generation;
  }
}

/** Keys of all chunks that a partition's bookkeeping names. */
export function chunkKeys(keys: PartitionKeys, bookkeeping: string): readonly string[] {
  if (bookkeeping === '') return [];
  return (JSON.parse(bookkeeping) as StoredIds).flatMap(([number, , chunks]) =>
    Array.from({ length: chunks }, (_, chunk) => keys.ids(number, chunk)),
  );
}

/** Neither sources nor ids hold U+0000. */
function identityOf({ source, id }: Identity): string {
  return source === undefined ? id : `${source}\0${id}`;
}

/** No source is empty. */
function ofAnySource(id: string): string {
  return `\0${id}`;
}

function newGeneration(number: number, slot: number): Generation {
  return { number, slot, ids: new IdSet(), chunks: 0, idsInLastChunk: 0 };
}

function dropGeneration(keys: PartitionKeys, generation: Generation, commands: CommandList): void {
  const names = Array.from({ length: generation.chunks }, (_, chunk) => keys.ids(generation.number, chunk));
  commands.addUnlink(names);
}
