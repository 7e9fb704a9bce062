import { AsyncLocalStorage } from 'node:async_hooks';
import { expect } from 'chai';
import { Refusal } from '../../../api/refusal.js';
import { LargeAnswers } from '../../../api/usage/queries/large-answers.js';
import { ReadingTurns } from '../../../api/usage/queries/reading-turns.js';
import { WindowPieces } from '../../../api/usage/queries/window-pieces.js';
import type { WindowPage } from '../../../api/usage/queries/windows-reader.js';
import { usageWindow } from './usage-windows.js';

/** A read that ends when it is told to. */
function reading(): { read: () => Promise<string>; began: boolean; end: (error?: Error) => void } {
  const one = {
    began: false,
    end: (_error?: Error): void => undefined,
    read: () => {
      one.began = true;
      return new Promise<string>((resolve, reject) => {
        one.end = (error) => (error === undefined ? resolve('read') : reject(error));
      });
    },
  };
  return one;
}

const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('ReadingTurns', () => {
  it('lets a few read at a time, the others in the order in which they came', async () => {
    const turns = new ReadingTurns(2, 10);
    const reads = Array.from({ length: 4 }, reading);
    const answers = reads.map(({ read }) => turns.run(read));
    const began = (): boolean[] => reads.map((one) => one.began);
    await settled();
    expect(began()).to.deep.equal([true, true, false, false]);
    reads[1]!.end();
    expect(await answers[1]).to.equal('read');
    await settled();
    expect(began()).to.deep.equal([true, true, true, false]);
    reads[0]!.end(new Error('failed'));
    expect(await answers[0]!.catch((error: Error) => error.message)).to.equal('failed');
    await settled();
    expect(began()).to.deep.equal([true, true, true, true]);
    for (const one of reads) one.end();
    await Promise.all(answers.slice(2));
    const late = reading();
    const lateAnswer = turns.run(late.read);
    expect(late.began).to.equal(true);
    late.end();
    await lateAnswer;
  });

  it('refuses what would wait behind too many', async () => {
    const turns = new ReadingTurns(1, 1);
    const [first, second] = [reading(), reading()];
    const answers = [turns.run(first.read), turns.run(second.read)];
    const error = await turns.run(async () => 1).catch((reason: unknown) => reason);
    expect(error).to.be.instanceOf(Refusal).with.property('code', 'overloaded');
    first.end();
    await settled();
    second.end();
    expect(await Promise.all(answers)).to.deep.equal(['read', 'read']);
  });

  it('reads in the context of who waited, not of who gave the turn away', async () => {
    const context = new AsyncLocalStorage<string>();
    const turns = new ReadingTurns(1, 10);
    const first = reading();
    const a = context.run('a', () => turns.run(first.read));
    const b = context.run('b', () => turns.run(async () => context.getStore()));
    context.run('a', () => first.end());
    await a;
    expect(await b).to.equal('b');
  });
});

describe('LargeAnswers', () => {
  it('bounds those of all tenants, and those of each', () => {
    const large = new LargeAnswers(3, 2);
    expect(['a', 'a', 'a', 'b', 'b'].map((tenant) => large.begin(tenant))).to.deep.equal([
      ...[true, true, false, true, false],
    ]);
    large.end('a');
    expect(['b', 'b', 'a'].map((tenant) => large.begin(tenant))).to.deep.equal([true, false, false]);
  });
});

describe('WindowPieces', () => {
  /** `long`: how many windows fit into a piece; those before `longFrom` are short. */
  function pieces(count: number, { longFrom = Number.POSITIVE_INFINITY, long = 3 } = {}) {
    const asked: number[] = [];
    const page = async (
      _customer: string,
      { from }: { from: number },
      limit: number,
    ): Promise<WindowPage> => {
      asked.push(limit);
      const shortLeft = Math.max(0, longFrom - from);
      const fits = shortLeft + long;
      const size = Math.min(limit, fits, count - from);
      const windows = Array.from({ length: size }, (_, i) => usageWindow(from + i));
      const after = from + size < count ? from + size - 1 : undefined;
      return { windows, after, cut: after !== undefined && size < limit };
    };
    return { asked, pieces: new WindowPieces({ page }, new ReadingTurns()) };
  }

  async function starts(of: WindowPieces, limit: number): Promise<number[]> {
    const seen: number[] = [];
    for await (const { windows } of of.of('c', { from: 0, to: 10_000 }, limit)) {
      seen.push(...windows.map(({ start }) => start));
    }
    return seen;
  }

  const upTo = (count: number): number[] => Array.from({ length: count }, (_, i) => i);

  it('reads more at a time as long as windows are short, up to 250', async () => {
    const { asked, pieces: of } = pieces(1700);
    expect(await starts(of, Number.POSITIVE_INFINITY)).to.deep.equal(upTo(1700));
    expect(asked).to.deep.equal([100, 250, 250, 250, 250, 250, 250, 250]);
  });

  it('asks for little more than it had where windows are long', async () => {
    const { asked, pieces: of } = pieces(360, { longFrom: 348 });
    expect(await starts(of, Number.POSITIVE_INFINITY)).to.deep.equal(upTo(360));
    expect(asked).to.deep.equal([100, 250, 250, 7, 7, 7]);
  });

  it('ends with the limit', async () => {
    const { asked, pieces: of } = pieces(1700);
    expect(await starts(of, 250)).to.deep.equal(upTo(250));
    expect(asked).to.deep.equal([100, 150]);
    expect(await starts(pieces(10).pieces, 250)).to.deep.equal(upTo(10));
  });
});
