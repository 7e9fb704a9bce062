import { expect } from 'chai';
import { Redis } from 'ioredis';
import { Appender, type AppenderOptions } from '../../../shared/append/appender.js';
import { Keys, type PartitionKeys } from '../../../shared/keys.js';
import {
  decodeEntry,
  RECORD_BATCH_BYTES_MAX,
  RECORD_BATCH_MESSAGES_MAX,
} from '../../../shared/messages/record-batch.js';
import { testNamespace, testRedis } from '../../support/hooks.js';

describe('Appender', () => {
  let redis: Redis;
  let keys: PartitionKeys;
  let other: PartitionKeys;

  beforeEach(() => {
    redis = new Redis(testRedis().url, { protocol: 2, enableOfflineQueue: true });
    const all = new Keys(testNamespace());
    keys = all.partition({ topic: 'events', index: 0 });
    other = all.partition({ topic: 'events', index: 1 });
  });
  afterEach(() => redis.disconnect());

  const appender = (options: Partial<AppenderOptions> = {}): Appender =>
    new Appender({ redis, bounds: bounds(1_000_000), ...options });
  const message = (id: number, padding = ''): string => JSON.stringify({ id: `m${id}`, padding });

  /** Sizes of the entries and ids of the messages, in the order of the stream. */
  async function stream(of: PartitionKeys): Promise<{ sizes: number[]; ids: string[]; bytes: number[] }> {
    const entries = await redis.xrange(of.stream, '-', '+');
    const batches = entries.map(([id, fields]) => {
      const entry = decodeEntry([id, fields]);
      if (entry.kind !== 'batch') throw new Error(entry.kind);
      return entry.messages.map((decoded) => decoded.id);
    });
    return {
      sizes: batches.map((batch) => batch.length),
      ids: batches.flat(),
      bytes: entries.map(([, fields]) => Buffer.byteLength(fields[5]!)),
    };
  }

  it('makes one batch per partition of what arrives in one turn', async () => {
    const sizes: number[] = [];
    const subject = appender({ onBatch: (size) => sizes.push(size) });
    const outcomes = await Promise.all([
      ...Array.from({ length: 10 }, (_, i) => subject.append(keys, message(i))),
      subject.append(other, message(0)),
    ]);
    expect(outcomes.every(({ kind }) => kind === 'appended')).to.equal(true);
    expect(await stream(keys)).to.deep.include({
      sizes: [10],
      ids: Array.from({ length: 10 }, (_, i) => `m${i}`),
    });
    expect((await stream(other)).sizes).to.deep.equal([1]);
    expect(sizes.sort()).to.deep.equal([1, 10]);
    expect(await redis.get(keys.appended)).to.equal('10');
  });

  it('splits at the bound in messages, keeping the order', async () => {
    const texts = Array.from({ length: RECORD_BATCH_MESSAGES_MAX * 2 + 1 }, (_, i) => message(i));
    const outcomes = await appender().appendAll(keys, texts);
    expect(outcomes).to.have.length(texts.length);
    const { sizes, ids } = await stream(keys);
    expect(sizes).to.deep.equal([RECORD_BATCH_MESSAGES_MAX, RECORD_BATCH_MESSAGES_MAX, 1]);
    expect(ids).to.deep.equal(texts.map((_, i) => `m${i}`));
  });

  it('splits at the bound in bytes, counted in UTF-8', async () => {
    const texts = Array.from({ length: 20 }, (_, i) => message(i, 'ü'.repeat(20_000)));
    await appender().appendAll(keys, texts);
    const { sizes, bytes } = await stream(keys);
    expect(sizes).to.deep.equal([6, 6, 6, 2]);
    expect(Math.max(...bytes)).to.be.at.most(RECORD_BATCH_BYTES_MAX);
  });

  it('fills the room exactly and refuses the rest', async () => {
    const subject = appender({ bounds: bounds(300) });
    const outcomes = await subject.appendAll(
      keys,
      Array.from({ length: 600 }, (_, i) => message(i)),
    );
    expect(outcomes.map(({ kind }) => kind)).to.deep.equal([
      ...Array(300).fill('appended'),
      ...Array(300).fill('full'),
    ]);
    expect((await stream(keys)).ids).to.deep.equal(Array.from({ length: 300 }, (_, i) => `m${i}`));
    expect(await subject.append(keys, message(1))).to.deep.equal({
      kind: 'full',
      reason: 'backlog',
      backlog: 300,
    });
  });

  it('shares the room exactly with another process', async () => {
    const second = redis.duplicate();
    const subjects = [appender({ bounds: bounds(500) }), appender({ bounds: bounds(500), redis: second })];
    const outcomes = await Promise.all(
      subjects.map((subject) =>
        subject.appendAll(
          keys,
          Array.from({ length: 400 }, (_, i) => message(i)),
        ),
      ),
    );
    second.disconnect();
    expect(outcomes.flat().filter(({ kind }) => kind === 'appended')).to.have.length(500);
    expect(await redis.get(keys.appended)).to.equal('500');
  });

  it('fails what waits behind a batch that failed, and works again afterwards', async () => {
    const subject = appender();
    await subject.append(keys, message(0));
    redis.disconnect();
    const outcomes = await subject.appendAll(
      keys,
      Array.from({ length: 600 }, (_, i) => message(i)),
    );
    expect(new Set(outcomes.map(({ kind }) => kind))).to.deep.equal(new Set(['unavailable']));
    await redis.connect();
    expect(await subject.append(keys, message(1))).to.deep.equal({ kind: 'appended' });
  });

  it('refuses at once above its bounds in memory', async () => {
    const few = appender({ waitingMessagesMax: 3 });
    const outcomes = await few.appendAll(
      keys,
      [1, 2, 3, 4].map((id) => message(id)),
    );
    expect(outcomes.map(({ kind }) => kind)).to.deep.equal([
      'appended',
      'appended',
      'appended',
      'overloaded',
    ]);
    expect((await few.append(keys, message(5))).kind).to.equal('appended');
    const small = appender({ waitingBytesMax: 100 });
    expect((await small.append(keys, message(1, 'x'.repeat(100)))).kind).to.equal('overloaded');
  });

  it('reports an error that is none of the store being away', async () => {
    await redis.set(keys.stream, 'not a stream');
    const defects: unknown[] = [];
    const outcome = await appender({ onDefect: (error) => defects.push(error) }).append(keys, message(1));
    expect(outcome.kind).to.equal('unavailable');
    expect(String(defects[0])).to.match(/WRONGTYPE/);
  });
});

function bounds(backlogMax: number) {
  return { backlogMax, archiveBytesMax: 0 };
}
