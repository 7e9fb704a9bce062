import type { RedisArgument } from '../../shared/redis/script.js';

/** Lua's `unpack` fails near 8,000 values; longer commands are split well below. */
const COMMAND_WORDS_MAX = 1000;

/** Keys of the commit script before those of its commands: head and lease. */
const KEYS_BEFORE = 2;

/**
 * The Redis commands of one commit, in order, as one flat list. A key is not among the words but declared, and the words
 * have its number: Redis Cluster refuses a script before its first write only for the keys that it was told of.
 */
export class CommandList {
  readonly words: RedisArgument[] = [];
  /** In the order of their numbers; one may be among them twice. */
  readonly keys: string[] = [];
  readonly absentKeys: number;
  private readonly numbers = new Map<string, number>();

  /** @param absent keys of documents that the fold took for absent: the commit looks first whether they are */
  constructor(absent: readonly string[] = []) {
    this.declare(absent);
    this.absentKeys = absent.length;
  }

  /** A command on one key, which follows its name. */
  add(name: string, key: string, ...rest: RedisArgument[]): void {
    this.words.push(rest.length + 2, name, this.numberOf(key), ...rest);
  }

  /** A command whose arguments repeat in groups of `groupSize` (ZADD, ZREM), split to stay in bounds. */
  addSplit(name: string, key: string, rest: readonly RedisArgument[], groupSize: number): void {
    for (const part of parts(rest, groupSize)) this.add(name, key, ...part);
  }

  /** @param texts key and text of each document */
  addTexts(texts: readonly (readonly [key: string, text: string])[]): void {
    for (const part of parts(texts, 1)) {
      const first = this.declare(part.map(([key]) => key));
      this.words.push(part.length + 2, 'MSET', first, ...part.map(([, text]) => text));
    }
  }

  addUnlink(keys: readonly string[]): void {
    for (const part of parts(keys, 1)) this.words.push(3, 'UNLINK', this.declare(part), part.length);
  }

  private numberOf(key: string): number {
    const known = this.numbers.get(key);
    if (known !== undefined) return known;
    const number = this.declare([key]);
    this.numbers.set(key, number);
    return number;
  }

  /** Declares keys side by side; the number of the first. */
  private declare(keys: readonly string[]): number {
    const first = KEYS_BEFORE + this.keys.length + 1;
    this.keys.push(...keys);
    return first;
  }
}

function* parts<T>(all: readonly T[], groupSize: number): Generator<readonly T[]> {
  const room = COMMAND_WORDS_MAX - 2;
  const size = room - (room % groupSize);
  for (let start = 0; start < all.length; start += size) yield all.slice(start, start + size);
}
