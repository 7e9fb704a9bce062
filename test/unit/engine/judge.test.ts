import { expect } from 'chai';
import fc from 'fast-check';
import { compareEntryIds } from '../../../consumer/engine/head.js';
import { judge, type StreamEntry } from '../../../consumer/engine/judge.js';
import type { CursorText, Verdicts } from '../../../shared/messages/verdicts.js';

const KINDS = ['accepted', 'duplicate', 'dead', 'cold', 'late'] as const;
type Kind = (typeof KINDS)[number];
const CODES: Readonly<Record<Kind, string>> = {
  accepted: '',
  duplicate: 'd',
  dead: 'x',
  cold: 'c',
  late: 'l7',
};

/** Kinds of the messages, entry by entry. */
const stream = fc.array(fc.array(fc.constantFrom(...KINDS), { maxLength: 12 }), {
  minLength: 1,
  maxLength: 12,
});

function entriesOf(kinds: readonly (readonly Kind[])[]): StreamEntry[] {
  return kinds.map((ofEntry, n) => ({
    id: `${1000 + Math.floor(n / 3)}-${n}`,
    messages: ofEntry.map((kind, i) => ({ type: 'usage', subject: 's', id: `${n}.${i}`, data: kind })),
  }));
}

/** The verdicts of steps with at most `stepSize()` messages each, as the fold writes them. */
function verdictsOf(
  kinds: readonly (readonly Kind[])[],
  entries: readonly StreamEntry[],
  stepSize: () => number,
): Verdicts[] {
  const steps: Verdicts[] = [];
  let from: CursorText = ['0-0', '', 0];
  let to = from;
  let n = 0;
  let x: Record<string, string> = {};
  let room = stepSize();
  const end = (): void => {
    if (n > 0 || to[0] !== from[0])
      steps.push(Object.keys(x).length > 0 ? { f: from, t: to, n, x } : { f: from, t: to, n });
    from = to;
    n = 0;
    x = {};
    room = stepSize();
  };
  entries.forEach(({ id, messages }, e) => {
    if (messages.length === 0) to = [id, '', 0];
    messages.forEach((_message, i) => {
      const code = CODES[kinds[e]![i]!];
      if (code !== '') x[id] = x[id] === undefined ? `${i}${code}` : `${x[id]} ${i}${code}`;
      n += 1;
      to = i + 1 < messages.length ? [to[0], id, i + 1] : [id, '', 0];
      if (n === room) end();
    });
  });
  end();
  return steps;
}

describe('judge', () => {
  it('judges every message once, however steps and batches are cut', () => {
    fc.assert(
      fc.property(
        stream,
        fc.infiniteStream(fc.integer({ min: 1, max: 9 })),
        fc.infiniteStream(fc.integer({ min: 1, max: 4 })),
        (kinds, stepSizes, batchSizes) => {
          const entries = entriesOf(kinds);
          const steps = verdictsOf(kinds, entries, () => stepSizes.next().value);
          const found: string[] = [];
          for (let i = 0; i < steps.length; ) {
            const batch = steps.slice(i, i + batchSizes.next().value);
            i += batch.length;
            const [toPosition, toInside] = batch.at(-1)!.t;
            const read = entries.filter(
              ({ id }) =>
                compareEntryIds(id, batch[0]!.f[0]) > 0 &&
                compareEntryIds(id, toInside === '' ? toPosition : toInside) <= 0,
            );
            const judged = judge(
              batch.map((verdicts, k) => ({ outbox: `${k}-0`, verdicts })),
              read,
            );
            expect(judged.missing).to.equal(0);
            found.push(...judged.events.map(({ message, judgement }) => `${message.id} ${judgement}`));
            for (const { judgement, revision } of judged.events) {
              expect(revision).to.equal({ accepted: 1, late: 7, cold: 0, duplicate: 0, dead: 0 }[judgement]);
            }
          }
          expect(found).to.deep.equal(
            kinds.flatMap((ofEntry, n) => ofEntry.map((kind, i) => `${n}.${i} ${kind}`)),
          );
        },
      ),
    );
  });

  it('counts what the stream no longer has', () => {
    const entries = entriesOf([['accepted', 'late'], ['accepted'], ['dead', 'accepted']]);
    const [verdicts] = verdictsOf(
      [['accepted', 'late'], ['accepted'], ['dead', 'accepted']],
      entries,
      () => 99,
    );
    const judged = judge([{ outbox: '1-0', verdicts: verdicts! }], [entries[0]!, entries[2]!]);
    expect(judged.missing).to.equal(1);
    expect(judged.events.map(({ message }) => message.id)).to.deep.equal(['0.0', '0.1', '2.0', '2.1']);
  });

  it('leaves out what is no message', () => {
    const entries = [{ id: '5-0', messages: [null, { type: 'usage', subject: 's', id: 'a', data: 1 }] }];
    const verdicts: Verdicts = { f: ['0-0', '', 0], t: ['5-0', '', 0], n: 2, x: { '5-0': '0x' } };
    const judged = judge([{ outbox: '1-0', verdicts }], entries);
    expect(judged.missing).to.equal(0);
    expect(judged.events.map(({ index }) => index)).to.deep.equal([1]);
  });
});
