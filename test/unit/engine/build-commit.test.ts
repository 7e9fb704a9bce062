import { expect } from 'chai';
import { buildCommit } from '../../../consumer/engine/build-commit.js';
import type { StepOutcome } from '../../../consumer/engine/fold-step.js';
import { IdStore } from '../../../consumer/engine/id-store.js';
import type { Processor } from '../../../consumer/engine/processor.js';
import type { Effect } from '../../../shared/effects.js';
import { Keys } from '../../../shared/keys.js';
import type { RedisArgument } from '../../../shared/redis/script.js';

const AT = 1_000_000;
const allKeys = new Keys('test');
const keys = allKeys.partition({ topic: 'admissions', index: 3 });

/** Documents are texts; `short:<ms>` may be forgotten at that time. */
const processor: Processor = {
  topic: 'admissions',
  pinned: [],
  decode: (_name, text) => text,
  encode: (_name, document) => document as string,
  expiresAt: (name) => (name.startsWith('short:') ? Number(name.slice(6)) : undefined),
  foldsAlone: () => false,
  documents: () => [],
  fold: () => ({ writes: [], effects: [] }),
};

function commandsOf(given: Partial<Pick<StepOutcome, 'documents' | 'effects'>>): RedisArgument[][] {
  const cursor = { position: '1-1', inside: undefined };
  const outcome: StepOutcome = {
    ...{ consumed: 1, messages: 1, duplicates: 0, accepted: 1, documents: new Map(), effects: [] },
    ...{ firedTimers: [], deadLetters: [], reservations: [], exceptions: {} },
    ...given,
  };
  const { commands } = buildCommit({
    ...{ outcome, processor, keys, allKeys, replyTtlMs: 5000, at: AT, from: cursor, to: cursor },
    assumed: [],
    ids: new IdStore(keys, '00', 1000, 1000, () => undefined),
  });
  const found: RedisArgument[][] = [];
  // Keys go by their number in KEYS, after head and lease.
  const key = (number: RedisArgument, further = 0): string => commands.keys[Number(number) - 3 + further]!;
  for (let i = 0; i < commands.words.length; ) {
    const length = Number(commands.words[i]);
    const [name = '', first = 0, ...rest] = commands.words.slice(i + 1, i + 1 + length);
    if (name === 'MSET') found.push([name, ...rest.flatMap((text, at) => [key(first, at), text])]);
    else found.push([name, key(first), ...rest]);
    i += length + 1;
  }
  return found;
}

const emit = (type: string, body: object, joins?: true): Effect => ({
  ...{ kind: 'emit', type, body },
  ...(joins === undefined ? {} : { joins }),
});
const added = (type: string, body: unknown) => [
  ...['XADD', keys.outbox, '*', 'type', type, 'body', JSON.stringify(body)],
];

describe('the commands of a commit', () => {
  it('give a document that may be forgotten the time that is left of the partition', () => {
    const documents = new Map([
      ['kept', 'a'],
      [`short:${AT + 1500}`, 'b'],
      [`short:${AT - 1}`, 'c'],
    ]);
    expect(commandsOf({ documents })).to.deep.equal([
      ['SET', keys.doc(`short:${AT + 1500}`), 'b', 'PX', 1500],
      ['SET', keys.doc(`short:${AT - 1}`), 'c', 'PX', 1],
      ['MSET', keys.doc('kept'), 'a'],
    ]);
  });

  it('join emissions of one type into entries of at most 100, and keep the order beside others', () => {
    const lines = Array.from({ length: 250 }, (_, n) => emit('line', { n }, true));
    const bodies = (from: number, to: number) =>
      Array.from({ length: to - from }, (_, n) => ({ n: from + n }));
    expect(
      commandsOf({
        effects: [
          emit('first', { alone: 1 }),
          ...lines,
          emit('last', { alone: 2 }),
          emit('line', { n: 0 }, true),
        ],
      }),
    ).to.deep.equal([
      added('first', { alone: 1 }),
      added('line', bodies(0, 100)),
      added('line', bodies(100, 200)),
      added('line', bodies(200, 250)),
      added('last', { alone: 2 }),
      added('line', [{ n: 0 }]),
    ]);
  });

  it('store and publish a reply in one', () => {
    const effects: Effect[] = [{ kind: 'reply', to: 'api-1/r/7', body: { kind: 'ended' } }];
    expect(commandsOf({ effects })).to.deep.equal([
      ['REPLY', keys.reply('r/7'), '{"kind":"ended"}', 5000, allKeys.replyChannel('api-1'), 'r/7'],
    ]);
  });
});
