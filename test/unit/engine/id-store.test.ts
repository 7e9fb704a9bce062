import { expect } from 'chai';
import fc from 'fast-check';
import { CommandList } from '../../../consumer/engine/command-list.js';
import { IdHasher } from '../../../consumer/engine/id-hash.js';
import { IdSet } from '../../../consumer/engine/id-set.js';
import { IdStore } from '../../../consumer/engine/id-store.js';
import { Keys } from '../../../shared/keys.js';

const SEED = '0123456789abcdef';
const keys = new Keys('test').partition({ topic: 'events', index: 0 });

describe('IdHasher', () => {
  const hash = (seed: string, ...parts: [string, string, string]): string => {
    const hasher = new IdHasher(seed);
    hasher.hash(...parts);
    return `${hasher.hi.toString(16)}:${hasher.lo.toString(16)}`;
  };

  it('tells apart what is split differently between tenant, subject and id', () => {
    fc.assert(
      fc.property(fc.string(), fc.string(), fc.string(), fc.integer({ min: 1, max: 5 }), (a, b, c, cut) => {
        const shifted: [string, string, string] = [a + b.slice(0, cut), b.slice(cut), c];
        fc.pre(b.length >= cut);
        expect(hash(SEED, a, b, c)).to.not.equal(hash(SEED, ...shifted));
      }),
    );
  });

  it('depends on the seed', () => {
    expect(hash(SEED, 'default', 'u', '1')).to.not.equal(hash('fedcba9876543210', 'default', 'u', '1'));
  });

  it('does not change between versions: a new worker must know the ids an old one wrote', () => {
    expect(hash(SEED, 'default', 'user-1', 'event-1')).to.equal(hash(SEED, 'default', 'user-1', 'event-1'));
    expect(hash(SEED, 'default', 'user-1', 'event-1')).to.equal('c0a3a673:c03a2321');
  });

  it('gives 200,000 similar ids 200,000 hashes, each half spread over all buckets', () => {
    const hasher = new IdHasher(SEED);
    const seen = new Set<string>();
    const buckets = [new Uint32Array(256), new Uint32Array(256)];
    for (let i = 0; i < 200_000; i += 1) {
      hasher.hash('default', `user-${i % 100}`, `event-${i}`);
      seen.add(`${hasher.hi}:${hasher.lo}`);
      buckets[0]![hasher.hi & 255]! += 1;
      buckets[1]![hasher.lo & 255]! += 1;
    }
    expect(seen.size).to.equal(200_000);
    // 781 a bucket expected, standard deviation 28: within six of them.
    for (const counts of buckets)
      for (const count of counts) expect(count).to.be.within(781 - 168, 781 + 168);
  });
});

describe('IdSet', () => {
  it('holds what a Set of pairs holds, through growth and clearing', () => {
    const half = fc.oneof(fc.integer({ min: 0, max: 3 }), fc.integer({ min: 0, max: 2 ** 32 - 1 }));
    fc.assert(
      fc.property(fc.array(fc.tuple(half, half), { maxLength: 3000 }), (pairs) => {
        const set = new IdSet();
        const model = new Set<string>();
        for (const [hi, lo] of pairs) {
          const key = `${hi}:${lo === 0 ? 1 : lo}`;
          expect(set.has(hi, lo)).to.equal(model.has(key));
          expect(set.add(hi, lo)).to.equal(!model.has(key));
          model.add(key);
        }
        expect(set.size).to.equal(model.size);
        set.clear();
        for (const [hi, lo] of pairs) expect(set.has(hi, lo)).to.equal(false);
      }),
      { numRuns: 50 },
    );
  });
});

describe('IdStore', () => {
  const WINDOW_MS = 1000;
  const newStore = (idsMax = 1_000_000, cut: (ids: number) => void = () => undefined) =>
    new IdStore(keys, SEED, WINDOW_MS, idsMax, cut);
  const commit = (store: IdStore): CommandList => {
    const commands = new CommandList();
    store.writeStage(commands);
    store.mergeStage();
    return commands;
  };
  const isNew = (store: IdStore, id: string, at: number, source?: string): boolean => {
    const message = { subject: 'u', id, ...(source === undefined ? {} : { source }) };
    if (store.isKnown(message, at)) return false;
    store.stage(message, at);
    return true;
  };

  it('remembers an id through its slot and the next, however the messages are cut into steps', () => {
    const messages = fc.array(
      fc.record({
        id: fc.integer({ min: 0, max: 8 }),
        gapMs: fc.integer({ min: 0, max: 900 }),
        cut: fc.boolean(),
      }),
      { maxLength: 60 },
    );
    fc.assert(
      fc.property(messages, (sequence) => {
        const store = newStore();
        const firstSeen = new Map<number, number>();
        let at = 5000;
        for (const { id, gapMs, cut } of sequence) {
          const before = Math.floor(at / WINDOW_MS);
          at += gapMs;
          const slot = Math.floor(at / WINDOW_MS);
          // A step ends at the latest where the slot does.
          if (cut || slot !== before) commit(store);
          const last = firstSeen.get(id);
          const expected = last === undefined || slot - last > 1;
          expect(isNew(store, String(id), at)).to.equal(expected);
          if (expected) firstSeen.set(id, slot);
        }
      }),
    );
  });

  it('tells sources apart, and each from no source, in a partition that has known them from the beginning', () => {
    const texts = fc.constantFrom('a', 'b', 'ab', '1', '11', '/');
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.option(texts, { nil: undefined }), texts, fc.boolean()), { maxLength: 60 }),
        (sequence) => {
          const store = newStore();
          const seen = new Set<string>();
          for (const [source, id, cut] of sequence) {
            const key = JSON.stringify([source ?? null, id]);
            expect(isNew(store, id, 5000, source)).to.equal(!seen.has(key));
            seen.add(key);
            if (cut) commit(store);
          }
        },
      ),
    );
  });

  it('forgets a stage that was not committed', () => {
    const store = newStore();
    expect(isNew(store, 'a', 1)).to.equal(true);
    store.discardStage();
    expect(isNew(store, 'a', 1)).to.equal(true);
    commit(store);
    expect(isNew(store, 'a', 1)).to.equal(false);
  });

  it('ends a generation early when it is full, keeps the one before, and says so', () => {
    const cuts: number[] = [];
    const store = newStore(3, (ids) => cuts.push(ids));
    for (const id of ['a', 'b', 'c', 'd', 'e', 'f']) {
      expect(isNew(store, id, 1)).to.equal(true);
      commit(store);
    }
    expect(cuts).to.deep.equal([3]);
    expect(isNew(store, 'a', 1)).to.equal(false);
    expect(isNew(store, 'g', 1)).to.equal(true);
    commit(store);
    expect(cuts).to.deep.equal([3, 3]);
    expect(isNew(store, 'a', 1)).to.equal(true);
  });

  it('writes 8 bytes an id, in chunks that are rewritten without slack once they are full', () => {
    const store = newStore();
    for (let i = 0; i < 5000; i += 1) isNew(store, `id-${i}`, 1);
    const { words } = commit(store);
    const appended = words
      .filter((word): word is Buffer => Buffer.isBuffer(word))
      .map((bytes) => bytes.length);
    expect(appended).to.deep.equal([4094 * 8, 906 * 8]);
    expect(words.filter((word) => word === 'COMPACT')).to.have.length(1);
  });
});
