import { expect } from 'chai';
import { Redis } from 'ioredis';
import { CommandList } from '../../../consumer/engine/command-list.js';
import { sendCommit } from '../../../consumer/engine/commit.js';
import { DocumentCache } from '../../../consumer/engine/document-cache.js';
import { loadDocuments } from '../../../consumer/engine/load-documents.js';
import type { Planned } from '../../../consumer/engine/plan-step.js';
import type { Processor } from '../../../consumer/engine/processor.js';
import { Keys } from '../../../shared/keys.js';
import { Script } from '../../../shared/redis/script.js';
import { testNamespace, testRedis } from '../../support/hooks.js';

/** A message wants the document of its subject, whose text names the one it leads to; nothing of `cold` is cached. */
const processor: Processor = {
  topic: 'admissions',
  pinned: [],
  caches: (name) => !name.startsWith('cold'),
  decode: (_name, text) => text,
  encode: (_name, document) => document as string,
  fresh: (input) =>
    input.kind === 'message' && input.message.subject.startsWith('fresh') ? input.message.subject : undefined,
  foldsAlone: () => false,
  documents: (input) => (input.kind === 'message' ? [input.message.subject] : []),
  follow: (input, read) => {
    const next = input.kind === 'message' ? (read(input.message.subject) as string | null) : null;
    if (next === 'nowhere') throw new Error('it leads nowhere');
    return next === null ? [] : [next];
  },
  fold: () => ({ writes: [], effects: [] }),
};

function message(subject: string): Planned {
  const entry = { id: '1-1', atMs: 1, messages: [] };
  return {
    ...{ kind: 'message', at: 1, index: 0, place: { entry, before: '0-0' } },
    message: { type: 't', subject, id: subject, data: {} },
  };
}

describe('the documents of a step', () => {
  let redis: Redis;
  const keys = new Keys(testNamespace()).partition({ topic: 'admissions', index: 0 });
  before(async () => {
    redis = new Redis(testRedis().url);
    await redis.mset(
      ...[
        keys.doc('a'),
        'cold-1',
        keys.doc('cold-1'),
        'one',
        keys.doc('b'),
        'nowhere',
        keys.doc('c'),
        'missing',
      ],
    );
  });
  after(() => redis.disconnect());

  const load = (
    subjects: readonly string[],
    cache = new DocumentCache(100, 1_000_000, new Set()),
    assume = false,
  ) => loadDocuments({ redis, keys, cache, processor, planned: subjects.map(message), members: [], assume });

  it('are those that an input names, and those that only these lead to', async () => {
    const { documents, refused, complete } = await load(['a', 'c', 'unknown']);
    expect([...documents].sort()).to.deep.equal([
      ['a', 'cold-1'],
      ['c', 'missing'],
      ['cold-1', 'one'],
      ['missing', null],
      ['unknown', null],
    ]);
    expect([refused.size, complete]).to.deep.equal([0, 3]);
  });

  it('refuse the input whose document leads nowhere, and no other', async () => {
    const { documents, refused } = await load(['a', 'b', 'a']);
    expect([...refused]).to.deep.equal([[1, 'Error: it leads nowhere']]);
    expect(documents.get('cold-1')).to.equal('one');
  });

  it('follow also what the cache has, and keep nothing that is not to be kept', async () => {
    const cache = new DocumentCache(100, 1_000_000, new Set());
    await load(['a'], cache);
    expect([cache.get('a')?.document, cache.get('cold-1')]).to.deep.equal(['cold-1', undefined]);
    await redis.set(keys.doc('cold-1'), 'two');
    expect((await load(['a'], cache)).documents.get('cold-1')).to.equal('two');
  });

  it('that are said to be fresh are taken for absent, unless something else wants them or they are known', async () => {
    const cache = new DocumentCache(100, 1_000_000, new Set());
    cache.put('fresh-known', 'it is there', 1);
    const { documents, assumed } = await load(['fresh-1', 'fresh-known', 'a'], cache, true);
    expect([documents.get('fresh-1'), documents.get('fresh-known')]).to.deep.equal([null, 'it is there']);
    expect(assumed).to.deep.equal(['fresh-1']);
    const read = await load(['fresh-1'], cache);
    expect([read.documents.get('fresh-1'), read.assumed]).to.deep.equal([null, []]);
  });
});

describe('a commit of a step that took documents for absent', () => {
  let redis: Redis;
  const keys = new Keys(testNamespace()).partition({ topic: 'admissions', index: 0 });
  before(async () => {
    redis = new Redis(testRedis().url);
    Script.defineAll(redis);
    await redis.set(keys.lease, 'mine');
  });
  after(() => redis.disconnect());

  const commit = async (seq: number, absent: readonly string[]) => {
    const commands = new CommandList(absent.map((name) => keys.doc(name)));
    for (const name of absent) commands.add('SET', keys.doc(name), `by ${seq}`);
    const { kind } = await sendCommit(redis, keys, {
      ...{ lease: 'mine', seq, position: `${seq}-1`, inside: undefined, at: 1, folded: 1 },
      ...{ cautiousUntil: '', ids: '', commands },
    });
    return kind;
  };

  it('changes nothing where one of them is there; and one sent again is still the same', async () => {
    expect(await commit(0, ['x', 'y'])).to.equal('OK');
    expect(await commit(0, ['x', 'y'])).to.equal('ALREADY');
    expect(await commit(1, ['z', 'y'])).to.equal('PRESENT');
    expect(await redis.mget(keys.doc('y'), keys.doc('z'))).to.deep.equal(['by 0', null]);
    expect(await redis.hmget(keys.head, 'seq', 'dirty', 'position')).to.deep.equal(['1', '0', '0-1']);
    expect(await commit(1, ['z'])).to.equal('OK');
  });
});
