import { expect } from 'chai';
import { replayDeadLetter } from '../../../shared/dead-letters/dead-letters.js';
import type { Message } from '../../../shared/messages/message.js';
import { EngineFixture } from '../../support/engine-fixture.js';
import { event } from '../../support/partitions.js';
import { until } from '../../support/redis-server.js';
import type { TestWorker } from '../../support/workers.js';

/** A purchase of 1 by user `u`; the text of one with a source begins with it. */
function purchase(id: string, source?: string): Message {
  const message = event('purchase_made', 'u', { amount: 1 }, id);
  return source === undefined ? message : { source, ...message };
}

describe('sources: who made a message id', () => {
  let fixture: EngineFixture;
  beforeEach(() => {
    fixture = new EngineFixture();
  });
  afterEach(() => fixture.close());

  const count = async (messages: readonly Message[]): Promise<number> => {
    await fixture.topic.append(messages);
    await fixture.topic.drained();
    return Number((await fixture.topic.user('u'))?.profile.spend ?? 0n) / 10_000;
  };
  const bookkeeping = async (): Promise<number[][]> =>
    JSON.parse((await fixture.redis.hget(fixture.topic.keysOf('u').head, 'ids')) ?? '[]') as number[][];
  /** What a worker writes that knows no sources, over what the others wrote. */
  const asOldWorkersWrite = async (): Promise<void> => {
    const stored = (await bookkeeping()).map((generation) => generation.slice(0, 3));
    await fixture.redis.hset(fixture.topic.keysOf('u').head, 'ids', JSON.stringify(stored));
  };
  const versions = async (): Promise<string[]> =>
    (await fixture.redis.xrange(fixture.topic.keysOf('u').stream, '-', '+')).map(([, fields]) => fields[1]!);

  it('counts one id once for each source, and once without, also for the next owner', async () => {
    const worker = await fixture.worker();
    const all = [purchase('1'), purchase('1', '/a'), purchase('1', '/b'), purchase('1', '/c')];
    expect(await count([...all, ...all])).to.equal(4);
    await worker.close();
    await fixture.worker();
    expect(await count(all)).to.equal(4);
    expect(await count([purchase('2', '/a'), purchase('2')])).to.equal(6);
  });

  it('writes entries with a source so that a worker that knows none leaves them to others', async () => {
    await fixture.topic.append([purchase('1')]);
    await fixture.topic.append([purchase('2'), purchase('3', '/a')]);
    expect(await versions()).to.deep.equal(['1', '2']);
  });

  it('keeps the source of a dead letter, and the version it needs, through a replay', async () => {
    await fixture.worker();
    const { dead, stream } = fixture.topic.keysOf('u');
    await fixture.topic.append([{ source: '/a', ...event('nonsense', 'u', {}, '1') }]);
    await until(5000, 'it is dead', async () => (await fixture.redis.xlen(dead)) === 1);
    const [letter] = await fixture.redis.xrange(dead, '-', '+');
    expect((JSON.parse(letter![1][1]!) as Message).source).to.equal('/a');
    const last = (await fixture.redis.xinfo('STREAM', stream)) as unknown[];
    const lastId = last[last.indexOf('last-generated-id') + 1] as string;
    const read = fixture.redis.duplicate();
    try {
      const next = read.xread('BLOCK', 5000, 'STREAMS', stream, lastId);
      expect(await replayDeadLetter(fixture.redis, fixture.topic.keysOf('u'), letter![0])).to.equal(
        'replayed',
      );
      expect((await next)![0]![1][0]![1].slice(0, 2)).to.deep.equal(['v', '2']);
    } finally {
      read.disconnect();
    }
  });

  describe('after an upgrade', () => {
    const upgraded = async (messages: readonly Message[], windowSeconds = '3600'): Promise<TestWorker> => {
      const old = await fixture.worker({ DEDUPE_WINDOW_SECONDS: windowSeconds });
      await count(messages);
      await old.close();
      await asOldWorkersWrite();
      return fixture.worker({ DEDUPE_WINDOW_SECONDS: windowSeconds });
    };

    it('an id that counted without its source counts no more, whichever source repeats it', async () => {
      await upgraded([purchase('1'), purchase('2')]);
      expect(await count([purchase('1', '/a'), purchase('2', '/a'), purchase('3', '/a')])).to.equal(3);
      // New ones are told apart at once.
      expect(await count([purchase('3', '/b'), purchase('3', '/a'), purchase('1', '/b')])).to.equal(4);
    });

    it('an API process of the version before may repeat what one of the new version took, and the other way round', async () => {
      await upgraded([purchase('0')]);
      expect(await count([purchase('1', '/a'), purchase('1')])).to.equal(2);
      expect(await count([purchase('1'), purchase('2')])).to.equal(3);
      expect(await count([purchase('2', '/a'), purchase('2', '/b')])).to.equal(3);
    });

    it('the next owner goes on with it; a worker that knows no sources makes it begin anew', async () => {
      const first = await upgraded([purchase('1')]);
      await count([purchase('2', '/a')]);
      const [[, slot, , mixedUntilMs] = []] = await bookkeeping();
      expect(mixedUntilMs).to.equal((slot! + 2) * 3_600_000);
      await first.close();
      const second = await fixture.worker();
      expect(await count([purchase('2'), purchase('1', '/a')])).to.equal(2);
      await second.close();
      await asOldWorkersWrite();
      await fixture.worker();
      expect(await count([purchase('3'), purchase('4', '/a')])).to.equal(4);
      expect(await count([purchase('3', '/a'), purchase('4')])).to.equal(4);
      expect((await bookkeeping())[0]![3]).to.equal(mixedUntilMs);
    });

    it('ends after two slots: then an id is one with a source and another without', async () => {
      await upgraded([purchase('1')], '1');
      expect(await count([purchase('2', '/a'), purchase('2')])).to.equal(2);
      await until(5000, 'the ids of that time are forgotten', async () => {
        const [, slot, , mixedUntilMs] = (await bookkeeping()).at(-1)!;
        await count([purchase(`x-${Date.now()}`)]);
        return slot! * 1000 > mixedUntilMs!;
      });
      const before = await count([purchase('3')]);
      expect(await count([purchase('3', '/a'), purchase('3', '/b')])).to.equal(before + 2);
    });
  });
});
