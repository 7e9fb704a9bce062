import { expect } from 'chai';
import fc from 'fast-check';
import { CommandList } from '../../../consumer/engine/command-list.js';
import { EntryBuffer } from '../../../consumer/engine/entry-buffer.js';
import { foldStep } from '../../../consumer/engine/fold-step.js';
import { IdStore } from '../../../consumer/engine/id-store.js';
import { cursorAfter, planStep } from '../../../consumer/engine/plan-step.js';
import type { FoldResult, Input, Processor, ReadDocument } from '../../../consumer/engine/processor.js';
import { Keys } from '../../../shared/keys.js';
import type { RawEntry } from '../../../shared/messages/record-batch.js';

/**
 * A processor that notes everything it is told, in order: what it has noted shows any difference in order, time
 * or number. `throw` throws, `timer` sets a timer `data` ms ahead, `cancel` cancels timer `data`, `alone` must be folded alone.
 */
const recorder: Processor = {
  topic: 'events',
  pinned: [],
  decode: (_name, text) => JSON.parse(text),
  encode: (_name, document) => JSON.stringify(document),
  foldsAlone: (message) => message.type === 'alone',
  documents: (input) => [input.kind === 'message' ? input.message.subject : 'timers'],
  fold: (input: Input, read: ReadDocument): FoldResult => {
    const name = input.kind === 'message' ? input.message.subject : 'timers';
    const notes = (read(name) as string[] | null) ?? [];
    if (input.kind === 'timer')
      return { writes: [[name, [...notes, `${input.timer.id}@${input.at}`]]], effects: [] };
    const { type, id, data } = input.message;
    if (type === 'throw') throw new Error(`no ${id}`);
    if (type === 'cancel') {
      const cancelled = { kind: 'cancel_timer' as const, id: `t-${data}` };
      return { writes: [[name, [...notes, `${id}@${input.at}`]]], effects: [cancelled] };
    }
    const effects =
      type === 'timer' ? [{ kind: 'timer' as const, id: `t-${id}`, dueAt: input.at + (data as number) }] : [];
    return { writes: [[name, [...notes, `${id}@${input.at}`]]], effects };
  },
};

interface Sent {
  readonly type: string;
  readonly subject: string;
  readonly id: string;
  readonly data: number;
  readonly gapMs: number;
}

const history = fc.array(
  fc.record({
    type: fc.constantFrom('plain', 'plain', 'plain', 'throw', 'timer', 'cancel', 'alone'),
    subject: fc.constantFrom('a', 'b', 'c'),
    id: fc.integer({ min: 0, max: 30 }).map(String),
    data: fc.integer({ min: 0, max: 40 }),
    gapMs: fc.integer({ min: 0, max: 20 }),
  }),
  { maxLength: 60 },
);

/** Runs a history through plan and fold as an owner does, with entries and steps of the given sizes. */
function run(sent: readonly Sent[], entrySize: () => number, stepSize: () => number): object {
  const keys = new Keys('test').partition({ topic: 'events', index: 0 });
  const ids = new IdStore(keys, '00', 100, 1_000_000, () => undefined);
  const documents = new Map<string, unknown>();
  const timers = new Map<string, number>();
  const dead: string[] = [];
  const buffer = new EntryBuffer('0-0', undefined);
  let head = { position: '0-0', at: 0 };
  buffer.push(entriesOf(sent, entrySize));
  for (;;) {
    const due = [...timers]
      .map(([id, dueAt]) => ({ id, dueAt }))
      .sort((a, b) => a.dueAt - b.dueAt || (a.id < b.id ? -1 : 1));
    const planned = planStep({
      buffer,
      position: head.position,
      headAt: head.at,
      timers: { due, completeUntilMs: Infinity },
      inputsMax: stepSize(),
      slotOf: (at) => ids.slotOf(at),
      processor: recorder,
      readPinned: () => null,
    });
    if (planned.length === 0) break;
    const read: ReadDocument = (name) => documents.get(name) ?? null;
    const options = {
      planned,
      processor: recorder,
      ids,
      read,
      members: [],
      facts: new Map(),
      refused: new Map(),
    };
    // Folded twice: the second must not see what the first has staged.
    foldStep(options);
    const outcome = foldStep(options);
    const last = planned[outcome.consumed - 1]!;
    for (const [name, document] of outcome.documents) documents.set(name, document);
    for (const id of outcome.firedTimers) timers.delete(id);
    for (const effect of outcome.effects) {
      if (effect.kind === 'timer') timers.set(effect.id, effect.dueAt);
      if (effect.kind === 'cancel_timer') timers.delete(effect.id);
    }
    dead.push(...outcome.deadLetters.map(({ text, at }) => `${JSON.parse(text).id}@${at}`));
    ids.writeStage(new CommandList());
    ids.mergeStage();
    buffer.advanceTo(cursorAfter(last));
    head = { position: cursorAfter(last).position, at: last.at };
  }
  expect(buffer.isEmpty).to.equal(true);
  expect(buffer.messages).to.equal(0);
  return { documents: Object.fromEntries(documents), dead, at: head.at };
}

/** Messages with the same time may share an entry; the entry's time is the time of all its messages. */
function entriesOf(sent: readonly Sent[], entrySize: () => number): RawEntry[] {
  const entries: RawEntry[] = [];
  let atMs = 1000;
  let batch: object[] = [];
  let room = 0;
  let sequence = 0;
  const flush = (): void => {
    if (batch.length > 0)
      entries.push([
        `${atMs}-${sequence++}`,
        ['v', '1', 'n', String(batch.length), 'm', JSON.stringify(batch)],
      ]);
    batch = [];
    room = entrySize();
  };
  for (const { gapMs, ...message } of sent) {
    if (gapMs > 0 || room === 0) flush();
    atMs += gapMs;
    batch.push(message);
    room -= 1;
  }
  flush();
  return entries;
}

const sizes = fc.infiniteStream(fc.integer({ min: 1, max: 7 }));

describe('steps', () => {
  it('however entries and steps are cut, the same is folded, in the same order and at the same times', () => {
    fc.assert(
      fc.property(history, sizes, sizes, (sent, entrySizes, stepSizes) => {
        const one = run(
          sent,
          () => 1,
          () => 1,
        );
        const other = run(
          sent,
          () => entrySizes.next().value,
          () => stepSizes.next().value,
        );
        const large = run(
          sent,
          () => 256,
          () => 2000,
        );
        expect(other).to.deep.equal(one);
        expect(large).to.deep.equal(one);
      }),
      { numRuns: 1000 },
    );
  });

  it('a timer that is due at no time makes its message a dead letter: Redis would refuse it amid the commit', () => {
    const sent = { type: 'timer', subject: 's', id: '1', data: 'x' as unknown as number, gapMs: 0 };
    const alone = (): number => 1;
    const outcome = run([sent, { ...sent, id: '2', data: 3 }], alone, alone);
    expect(outcome).to.deep.include({ dead: ['1@1000'], documents: { s: ['2@1000'], timers: ['t-2@1003'] } });
  });

  it('an owner that begins inside an entry folds what its predecessor has not', () => {
    const messages = ['a', 'b', 'c'].map((id) => ({ type: 'plain', subject: 's', id, data: 0 }));
    const buffer = new EntryBuffer('5-0', { entry: '6-0', messages: 2 });
    buffer.push([['6-0', ['v', '1', 'n', '3', 'm', JSON.stringify(messages)]]]);
    expect(buffer.messages).to.equal(1);
    const planned = planStep({
      buffer,
      position: '5-0',
      headAt: 0,
      timers: { due: [], completeUntilMs: Infinity },
      inputsMax: 10,
      slotOf: () => 0,
      processor: recorder,
      readPinned: () => null,
    });
    expect(planned.map((item) => (item.kind === 'message' ? item.message.id : ''))).to.deep.equal(['c']);
    expect(cursorAfter(planned[0]!)).to.deep.equal({ position: '6-0', inside: undefined });
  });

  it('an owner applies what is folded of an entry to no other entry', () => {
    const messages = ['a', 'b', 'c'].map((id) => ({ type: 'plain', subject: 's', id, data: 0 }));
    const buffer = new EntryBuffer('5-0', { entry: '6-0', messages: 2 });
    buffer.push([['7-0', ['v', '1', 'n', '3', 'm', JSON.stringify(messages)]]]);
    expect(buffer.messages).to.equal(3);
    expect(buffer.inside).to.equal(undefined);
  });

  it('timers that were not all loaded hold back the entries behind them', () => {
    const buffer = new EntryBuffer('0-0', undefined);
    buffer.push([['50-0', ['v', '1', 'n', '1', 'm', '[{"type":"plain","subject":"s","id":"x"}]']]]);
    const planned = planStep({
      buffer,
      position: '0-0',
      headAt: 0,
      timers: { due: [{ id: 't', dueAt: 10 }], completeUntilMs: 40 },
      inputsMax: 10,
      slotOf: () => 0,
      processor: recorder,
      readPinned: () => null,
    });
    expect(planned.map(({ kind }) => kind)).to.deep.equal(['timer']);
  });
});
