import { expect } from 'chai';
import fc from 'fast-check';
import {
  type ArchivedWindows,
  type HotWindows,
  mergeStarts,
  WindowsReader,
} from '../../../api/usage/queries/windows-reader.js';
import type { WindowRows } from '../../../shared/postgres/repositories/windows-repository.js';
import { StoreUnavailable } from '../../../shared/redis/store-unavailable.js';
import type { UsageWindow } from '../../../shared/usage/usage-window.js';
import { usageWindow } from './usage-windows.js';

/** Two stores whose windows may move between any two reads. */
class Stores {
  readonly hot = new Map<number, UsageWindow>();
  readonly archive = new Map<number, UsageWindow>();
  completeFrom = Number.POSITIVE_INFINITY;
  evictedUntil = 0;
  readonly reads: string[] = [];
  /** Called after each read. */
  between: (read: string) => void = () => undefined;

  private done<T>(read: string, answer: T): Promise<T> {
    this.reads.push(read);
    this.between(read);
    return Promise.resolve(answer);
  }

  private in(map: ReadonlyMap<number, UsageWindow>, from: number, to: number): UsageWindow[] {
    return [...map.values()]
      .filter(({ start }) => start >= from && start < to)
      .sort((a, b) => a.start - b.start);
  }

  /** As the stores do it: up to and with the one that reaches the bytes. A window is as long as it has tokens. */
  private within(windows: readonly (UsageWindow | undefined)[], bytesMax: number): number {
    let bytes = 0;
    const last = windows.findIndex((window) => {
      bytes += window?.tokens ?? 0;
      return bytes >= bytesMax;
    });
    return last === -1 ? windows.length : last + 1;
  }

  private rows(windows: readonly UsageWindow[], bytesMax: number): WindowRows {
    const read = this.within(windows, bytesMax);
    return { windows: windows.slice(0, read), unread: windows[read]?.start };
  }

  readonly hotSide: HotWindows = {
    index: (_customer, { from, to }, limit) => {
      const starts = this.in(this.hot, from, to)
        .slice(0, limit)
        .map(({ start }) => start);
      const { completeFrom, evictedUntil } = this;
      return this.done('index', { starts, completeFrom, evictedUntil });
    },
    count: (_customer, { from, to }) => this.done('hot count', this.in(this.hot, from, to).length),
    windows: (_customer, starts, bytesMax) => {
      const windows = starts.map((start) => this.hot.get(start));
      return this.done('documents', windows.slice(0, this.within(windows, bytesMax)));
    },
  };

  readonly archiveSide: ArchivedWindows = {
    windows: (_customer, { from, to }, limit, bytesMax) =>
      this.done('archive', this.rows(this.in(this.archive, from, to).slice(0, limit), bytesMax)),
    windowsAt: (_customer, starts, bytesMax) => {
      const windows = starts.flatMap((start) => this.archive.get(start) ?? []);
      return this.done('archive again', this.rows(windows, bytesMax));
    },
    count: (_customer, { from, to }, most) =>
      this.done('archive count', Math.min(most, this.in(this.archive, from, to).length)),
  };

  readonly reader: WindowsReader;

  constructor(bytesMax?: number) {
    this.reader = new WindowsReader(this.hotSide, this.archiveSide, bytesMax);
  }

  /** As the workers do it: archived, then evicted, then the partition's document says so. */
  evict(start: number): void {
    const window = this.hot.get(start);
    if (window === undefined) return;
    this.archive.set(start, window);
    this.hot.delete(start);
    this.evictedUntil = Math.max(this.evictedUntil, window.end);
    this.completeFrom = Math.max(this.completeFrom, window.end);
  }
}

const all = { from: 0, to: 1_000_000 };

describe('WindowsReader', () => {
  it('takes a window that both stores have from Redis', async () => {
    const stores = new Stores();
    stores.hot.set(30_000, usageWindow(30_000, { revision: 2, calls: 7 }));
    stores.archive.set(30_000, usageWindow(30_000, { revision: 1, calls: 5 }));
    stores.archive.set(0, usageWindow(0, { calls: 3 }));
    const { windows, after } = await stores.reader.page('c', all, 10);
    expect(windows.map(({ start, calls }) => [start, calls])).to.deep.equal([
      [0, 3],
      [30_000, 7],
    ]);
    expect(after).to.equal(undefined);
  });

  it('does not ask Postgres where Redis alone is complete', async () => {
    const stores = new Stores();
    stores.completeFrom = 30_000;
    stores.hot.set(30_000, usageWindow(30_000));
    await stores.reader.page('c', { from: 30_000, to: 90_000 }, 10);
    expect(stores.reads).to.deep.equal(['index', 'documents']);
    await stores.reader.page('c', { from: 29_999, to: 90_000 }, 10);
    expect(stores.reads.slice(2)).to.deep.equal(['index', 'archive', 'documents']);
  });

  it('asks Postgres for no more than the part that Redis may not know', async () => {
    const stores = new Stores();
    stores.completeFrom = 60_000;
    stores.archive.set(0, usageWindow(0));
    // Archived, and still hot: not to be read twice.
    stores.archive.set(60_000, usageWindow(60_000, { calls: 99 }));
    const { windows } = await stores.reader.page('c', all, 10);
    expect(windows.map(({ start }) => start)).to.deep.equal([0]);
  });

  for (const read of ['index', 'archive']) {
    it(`finds a window that leaves Redis after the read of ${read}`, async () => {
      const stores = new Stores();
      stores.completeFrom = 0;
      stores.evictedUntil = 0;
      stores.hot.set(0, usageWindow(0, { calls: 4 }));
      stores.hot.set(30_000, usageWindow(30_000));
      if (read === 'archive') stores.completeFrom = 1;
      stores.between = (done) => {
        if (done === read) stores.evict(0);
      };
      const { windows } = await stores.reader.page('c', all, 10);
      expect(windows.map(({ start, calls }) => [start, calls])).to.deep.equal([
        [0, 4],
        [30_000, 1],
      ]);
      expect(stores.reads.at(-1)).to.equal('archive again');
    });
  }

  it('ends a page with the window that reaches the bytes, whichever store has it', async () => {
    for (const side of ['hot', 'archive'] as const) {
      const stores = new Stores(5);
      for (const n of [0, 1, 2, 3]) {
        stores[side].set(n * 30_000, usageWindow(n * 30_000, { tokens: n === 1 ? 99 : 1 }));
      }
      const first = await stores.reader.page('c', all, 10);
      expect([side, first.windows.map(({ start }) => start), first.after, first.cut]).to.deep.equal([
        ...[side, [0, 30_000], 30_000, true],
      ]);
      const second = await stores.reader.page('c', { ...all, from: 30_001 }, 10);
      expect([side, second.windows.length, second.after, second.cut]).to.deep.equal([
        side,
        2,
        undefined,
        false,
      ]);
    }
  });

  it('has one window on a page at least, however long', async () => {
    const stores = new Stores(1);
    stores.archive.set(0, usageWindow(0, { tokens: 99 }));
    for (const n of [1, 2]) stores.hot.set(n * 30_000, usageWindow(n * 30_000, { tokens: 99 }));
    const { windows, after } = await stores.reader.page('c', { from: 0, to: 30_001 }, 10);
    expect([windows.map(({ start }) => start), after]).to.deep.equal([[0, 30_000], undefined]);
    const rest = await stores.reader.page('c', { from: 30_000, to: 90_000 }, 10);
    expect([rest.windows.map(({ start }) => start), rest.after]).to.deep.equal([[30_000], 30_000]);
  });

  it('is not cut where its limit comes first', async () => {
    const stores = new Stores(2);
    for (const n of [0, 1, 2, 3]) stores.archive.set(n * 30_000, usageWindow(n * 30_000, { tokens: 1 }));
    const { windows, after, cut } = await stores.reader.page('c', all, 2);
    expect([windows.length, after, cut]).to.deep.equal([2, 30_000, false]);
  });

  it('says which part is missing while Postgres is away', async () => {
    const stores = new Stores();
    stores.completeFrom = 60_000;
    const away = (): Promise<never> => Promise.reject(new StoreUnavailable('Postgres does not answer.'));
    const reader = new WindowsReader(stores.hotSide, { windows: away, windowsAt: away, count: away });
    const error = await reader.page('c', all, 10).then(
      () => undefined,
      (reason: unknown) => reason,
    );
    expect(error).to.be.instanceOf(StoreUnavailable);
    expect((error as StoreUnavailable).detail).to.equal(
      'Postgres does not answer. It may hold more: windows from 1970-01-01T00:00:00.000Z to ' +
        '1970-01-01T00:01:00.000Z cannot be read completely.',
    );
    // The hot part is there all the same.
    stores.hot.set(60_000, usageWindow(60_000));
    const { windows } = await reader.page('c', { from: 60_000, to: 1_000_000 }, 10);
    expect(windows).to.have.length(1);
  });

  it('without a DATABASE_URL answers from Redis, but not for windows that have left it', async () => {
    const stores = new Stores();
    const reader = new WindowsReader(stores.hotSide, undefined);
    stores.hot.set(30_000, usageWindow(30_000));
    expect((await reader.page('c', all, 10)).windows).to.have.length(1);
    stores.evict(30_000);
    const error = await reader.page('c', all, 10).catch((reason: unknown) => reason);
    expect(error).to.be.instanceOf(StoreUnavailable);
    expect((error as StoreUnavailable).detail).to.match(/^This process has no DATABASE_URL/);
    expect((await reader.page('c', { from: 60_000, to: 90_000 }, 10)).windows).to.deep.equal([]);
  });

  it('counts a window that both have once', async () => {
    const stores = new Stores();
    for (let start = 0; start < 300_000; start += 30_000) stores.archive.set(start, usageWindow(start));
    stores.hot.set(270_000, usageWindow(270_000));
    expect(await stores.reader.countAtLeast('c', all, 100)).to.equal(10);
    expect(await stores.reader.countAtLeast('c', all, 4)).to.equal(4);
  });

  it('shows every window once, in order, whatever the page size, long windows, and whatever moves meanwhile', async () => {
    const startsArbitrary = fc.uniqueArray(fc.integer({ min: 0, max: 60 }), { maxLength: 40 });
    await fc.assert(
      fc.asyncProperty(
        startsArbitrary,
        fc.integer({ min: 0, max: 40 }),
        fc.integer({ min: 1, max: 7 }),
        fc.array(fc.integer({ min: 0, max: 60 }), { maxLength: 60 }),
        fc.integer({ min: 1, max: 20 }),
        fc.array(fc.integer({ min: 0, max: 9 }), { minLength: 1 }),
        async (numbers, coldCount, limit, evictions, bytesMax, lengths) => {
          const stores = new Stores(bytesMax);
          stores.completeFrom = 0;
          const starts = numbers.map((n) => n * 30_000).sort((a, b) => a - b);
          starts.forEach((start, i) => {
            const tokens = lengths[i % lengths.length]!;
            stores.hot.set(start, usageWindow(start, { calls: start + 1, tokens }));
          });
          for (const start of starts.slice(0, coldCount)) stores.evict(start);
          stores.between = () => {
            const next = evictions.shift();
            if (next !== undefined) stores.evict(next * 30_000);
          };
          const seen: number[] = [];
          let range: { from: number; to: number } | undefined = { from: 0, to: 10_000_000 };
          while (range !== undefined) {
            const { windows, after } = await stores.reader.page('c', range, limit);
            expect(windows.length).to.be.at.most(limit);
            if (after !== undefined) expect(windows.length).to.be.at.least(1);
            for (const { start, calls } of windows) {
              expect(calls).to.equal(start + 1);
              seen.push(start);
            }
            range = after === undefined ? undefined : { ...range, from: after + 1 };
          }
          expect(seen).to.deep.equal(starts);
        },
      ),
      { numRuns: 300 },
    );
  });
});

describe('mergeStarts', () => {
  it('merges ascending lists, each start once', () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.nat(50)), fc.uniqueArray(fc.nat(50)), (a, b) => {
        const ascending = (list: number[]) => [...list].sort((x, y) => x - y);
        expect(mergeStarts(ascending(a), ascending(b))).to.deep.equal(ascending([...new Set([...a, ...b])]));
      }),
    );
  });
});
