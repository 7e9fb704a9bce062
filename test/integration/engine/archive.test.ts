import { expect } from 'chai';
import type { Archive, ArchiveBatch, JudgedEvent, RefusedEvent } from '../../../consumer/engine/archive.js';
import { append, UNBOUNDED } from '../../../shared/append/append.js';
import type { PartitionKeys } from '../../../shared/keys.js';
import { decodeMetering } from '../../../shared/state/metering-codec.js';
import { EngineFixture } from '../../support/engine-fixture.js';
import { until } from '../../support/redis-server.js';
import { WorkerProcess } from '../../support/worker-process.js';

/** Keeps what it is given; can be away, and can refuse an event. */
class CollectingArchive implements Archive {
  readonly batches: ArchiveBatch[] = [];
  away = false;
  refuses = '';

  write(batch: ArchiveBatch): Promise<readonly RefusedEvent[]> {
    if (this.away) return Promise.reject(new Error('the archive is away'));
    this.batches.push(batch);
    const refused = batch.events.filter(({ message }) => message.id === this.refuses);
    return Promise.resolve(refused.map((event) => ({ event, error: 'not in my house' })));
  }

  remembers(): Promise<boolean> {
    return Promise.resolve(false);
  }

  get events(): JudgedEvent[] {
    return this.batches.flatMap(({ events }) => events);
  }

  get windows(): ArchiveBatch['windows'] {
    return this.batches.flatMap(({ windows }) => windows);
  }

  /** `a late 2` */
  get judged(): string[] {
    return this.events
      .filter(({ message }) => message.type === 'usage')
      .map(({ message, judgement, revision }) => `${message.id} ${judgement} ${revision}`);
  }
}

const NOW_DELAY = {
  ARCHIVE_DELAY_MS: '0',
  WINDOW_SECONDS: '1',
  ALLOWED_LATENESS_SECONDS: '0',
  REVISION_DELAY_MS: '50',
};

describe('the archive of a partition', () => {
  let fixture: EngineFixture;
  let keys: PartitionKeys;
  beforeEach(() => {
    fixture = new EngineFixture();
    keys = fixture.topic.keys.partition({ topic: 'usage', index: 0 });
  });
  afterEach(() => fixture.close());

  async function post(...batches: (readonly object[])[]): Promise<void> {
    const texts = batches.map((batch) => batch.map((message) => JSON.stringify(message)));
    await append(fixture.redis, keys, texts, UNBOUNDED);
  }

  function usage(id: string, timestamp = Date.now(), data: unknown = ['/e', 10, 4, 6, 'm', 1000]): object {
    return { type: 'usage', tenant: 't', subject: 'c', id, timestamp, data };
  }

  /** Each is followed by housekeeping, which trims what may be trimmed. */
  async function heartbeats(count: number): Promise<void> {
    const beat = async (): Promise<string | undefined> =>
      (await fixture.redis.zrange(fixture.topic.keys.workers, '0', '-1', 'WITHSCORES'))[1];
    for (let seen = 0; seen <= count; seen += 1) {
      const before = await beat();
      await until(5000, 'a heartbeat', async () => (await beat()) !== before);
    }
  }

  const settled = async (archive: CollectingArchive, events: number): Promise<void> =>
    until(5000, `${events} events are archived`, () => archive.judged.length >= events);

  it('gets every message with what became of it, and the windows', async () => {
    const archive = new CollectingArchive();
    await fixture.worker(NOW_DELAY, undefined, undefined, archive);
    const start = Math.floor(Date.now() / 1000) * 1000 + 1000;
    await post([usage('a', start), usage('b', start), usage('a', start)], [usage('bad', start, 'no data')]);
    await until(5000, 'the window is closed', () => archive.windows.length === 1);
    await post([usage('late', start), usage('later', start), usage('cold', start - 86_400_000 * 2)]);
    await until(5000, 'the window is revised', () => archive.windows.length === 2);
    expect(archive.judged).to.deep.equal([
      'a accepted 1',
      'b accepted 1',
      'a duplicate 0',
      'bad dead 0',
      'late late 2',
      'later late 2',
      'cold cold 0',
    ]);
    const [closed, revised] = archive.windows.map(({ emission }) => emission);
    expect([closed!.status, closed!.revision, closed!.calls, closed!.tokens]).to.deep.equal([
      'closed',
      1,
      2,
      20,
    ]);
    expect([revised!.status, revised!.revision, revised!.calls, revised!.late]).to.deep.equal([
      'revised',
      2,
      4,
      2,
    ]);
  });

  it('counts as waiting no bytes of a stream that was deleted, and every byte of what comes then', async () => {
    const archive = new CollectingArchive();
    archive.away = true;
    await fixture.worker(NOW_DELAY, undefined, undefined, archive);
    await post([usage('a'), usage('b')]);
    const waiting = async (): Promise<number> => {
      const [bytes, archived] = await Promise.all([
        fixture.redis.get(keys.bytes),
        fixture.redis.hget(keys.sinks, 'archive.bytes'),
      ]);
      return Number(bytes) - Number(archived ?? 0);
    };
    await until(5000, 'both are folded', async () => (await fixture.redis.hget(keys.head, 'folded')) === '2');
    expect(await waiting()).to.be.above(100);
    await fixture.redis.del(keys.stream);
    await until(5000, 'nothing waits', async () => (await waiting()) === 0);
    await post([usage('c')]);
    await heartbeats(2);
    expect(await waiting()).to.equal(Buffer.byteLength(`[${JSON.stringify(usage('c', 1e12))}]`));
    archive.away = false;
    await until(5000, 'c is archived', () => archive.judged.includes('c accepted 1'));
    await heartbeats(2);
    expect(await waiting()).to.equal(0);
  });

  it('frees the stream, the outbox and the bytes when it has them, and tells the fold', async () => {
    const archive = new CollectingArchive();
    archive.away = true;
    await fixture.worker(NOW_DELAY, undefined, undefined, archive);
    await post([usage('a'), usage('b')]);
    await until(5000, 'the window is emitted', async () => (await fixture.redis.xlen(keys.outbox)) >= 2);
    await until(
      5000,
      'everything is folded',
      async () => (await fixture.redis.hget(keys.head, 'folded')) === '2',
    );
    await heartbeats(2);
    expect(await fixture.redis.xlen(keys.stream), 'kept while the archive is away').to.equal(1);
    archive.away = false;
    await until(9000, 'the stream is empty', async () => (await fixture.redis.xlen(keys.stream)) === 0);
    await until(5000, 'the outbox is empty', async () => (await fixture.redis.xlen(keys.outbox)) === 0);
    await until(5000, 'the fold knows', async () => {
      const text = await fixture.redis.get(keys.doc('partition'));
      return text !== null && decodeMetering(text).archived === 1;
    });
    const bytes = await fixture.redis.get(keys.bytes);
    await until(
      5000,
      'no byte waits',
      async () => (await fixture.redis.hget(keys.sinks, 'archive.bytes')) === bytes,
    );
    expect(archive.judged).to.deep.equal(['a accepted 1', 'b accepted 1']);
  });

  it('keeps everything where there is no archive at all', async () => {
    await fixture.worker(NOW_DELAY);
    await post([usage('a')]);
    await until(5000, 'it is folded', async () => (await fixture.redis.hget(keys.head, 'folded')) === '1');
    await heartbeats(2);
    expect(await fixture.redis.xlen(keys.stream)).to.equal(1);
  });

  it('takes nothing that is younger than the delay', async () => {
    const archive = new CollectingArchive();
    await fixture.worker({ ...NOW_DELAY, ARCHIVE_DELAY_MS: '1500' }, undefined, undefined, archive);
    await post([usage('a')]);
    const [[id]] = (await fixture.redis.xrange(keys.stream, '-', '+')) as [[string, string[]]];
    await settled(archive, 1);
    const [seconds, micros] = await fixture.redis.time();
    const nowMs = Number(seconds) * 1000 + Number(micros) / 1000;
    expect(nowMs - Number.parseInt(id, 10)).to.be.at.least(1500);
  });

  it('makes a dead letter of a row that it refuses, and a line in the log', async () => {
    const archive = new CollectingArchive();
    archive.refuses = 'b';
    const errors: Record<string, unknown>[] = [];
    await fixture.worker(NOW_DELAY, undefined, undefined, archive, (line) => errors.push(line));
    await post([usage('a'), usage('b'), usage('c')]);
    await until(5000, 'a dead letter', async () => (await fixture.redis.xlen(keys.dead)) === 1);
    const [[, fields]] = (await fixture.redis.xrange(keys.dead, '-', '+')) as [[string, string[]]];
    expect(fields).to.include.members(['not in my house', 'row']);
    expect(JSON.parse(fields[1]!)).to.include({ id: 'b' });
    await until(5000, 'a line in the log', () => errors.length > 0);
    expect(errors).to.have.length(1);
    expect(errors[0]).to.include({
      ...{ msg: 'dead letter', kind: 'row', error: 'not in my house', attempts: 1, id: 'b' },
    });
  });

  it('loses no row that it refuses where the dead letters cannot be written, and goes on when they can', async () => {
    const archive = new CollectingArchive();
    archive.refuses = 'b';
    await fixture.worker(NOW_DELAY, undefined, undefined, archive);
    await fixture.redis.set(keys.dead, 'not a stream');
    await post([usage('a'), usage('b')]);
    await until(5000, 'it was written twice', () => archive.judged.length >= 4);
    await fixture.redis.del(keys.dead);
    await until(9000, 'a dead letter', async () => (await fixture.redis.xlen(keys.dead)) === 1);
    await until(5000, 'it is acknowledged', async () => {
      const [bytes, archived] = [
        await fixture.redis.get(keys.bytes),
        await fixture.redis.hget(keys.sinks, 'archive.bytes'),
      ];
      return bytes === archived;
    });
  });

  it('is read again from where Redis believes it to be, when Redis has lost an acknowledgement', async () => {
    const archive = new CollectingArchive();
    await fixture.worker({ ...NOW_DELAY, WINDOW_SECONDS: '60' }, undefined, undefined, archive);
    const acknowledged = () =>
      until(9000, 'all is acknowledged', async () => {
        const [bytes, archived] = await Promise.all([
          fixture.redis.get(keys.bytes),
          fixture.redis.hget(keys.sinks, 'archive.bytes'),
        ]);
        return bytes === archived;
      });
    await post([usage('a')]);
    await acknowledged();
    const before = await fixture.redis.hgetall(keys.sinks);
    await post([usage('b')]);
    await acknowledged();
    await fixture.redis.del(keys.sinks);
    await fixture.redis.hset(keys.sinks, before);
    await post([usage('c')]);
    await acknowledged();
    expect(new Set(archive.judged)).to.deep.equal(new Set(['a accepted 1', 'b accepted 1', 'c accepted 1']));
  });

  it('takes nothing that it cannot read for nothing: a newer record batch, an unknown outbox entry', async () => {
    const newer = await fixture.redis.xadd(keys.stream, '*', 'v', '9', 'n', '1', 'm', '[]');
    const verdicts = { f: ['0-0', '', 0], t: [newer, '', 0], n: 1 };
    await fixture.redis.xadd(keys.outbox, '*', 'type', 'verdicts', 'body', JSON.stringify(verdicts));
    // A newer worker has folded it.
    await fixture.redis.hset(keys.head, { position: newer!, seq: 1, at: 1, seed: '0123456789abcdef' });
    const other = fixture.topic.keys.partition({ topic: 'usage', index: 1 });
    await fixture.redis.xadd(other.outbox, '*', 'type', 'brand-new', 'body', '{}');
    const archive = new CollectingArchive();
    await fixture.worker(NOW_DELAY, undefined, undefined, archive);
    // The drains of the others run meanwhile, several times.
    const third = fixture.topic.keys.partition({ topic: 'usage', index: 2 });
    for (const id of ['x', 'y', 'z']) {
      await append(fixture.redis, third, [[JSON.stringify(usage(id))]], UNBOUNDED);
      await until(5000, 'it is archived', () => archive.judged.includes(`${id} accepted 1`));
    }
    expect(archive.batches.every(({ partition }) => partition.index === 2)).to.equal(true);
    expect(await fixture.redis.xlen(keys.stream)).to.equal(1);
    expect(await fixture.redis.xlen(other.outbox)).to.equal(1);
  });

  it('never gets an event that would open documents without bound, or a name that Postgres cannot have', async () => {
    const archive = new CollectingArchive();
    await fixture.worker({ ...NOW_DELAY, WINDOW_SECONDS: '60' }, undefined, undefined, archive);
    const now = Date.now();
    await post([
      usage('in time', now),
      usage('far', now + 3 * 3_600_000),
      usage('nul', now, ['/e\0', 1, 0, 0, null, null]),
      usage('half', now, ['/e', 1, 0, 0, '\ud800', null]),
    ]);
    await settled(archive, 4);
    expect(archive.judged).to.deep.equal(['in time accepted 1', 'far dead 0', 'nul dead 0', 'half dead 0']);
  });

  it('loses nothing, and judges the same, when its owner is killed again and again', async function () {
    this.timeout(60_000);
    // The first owners have no Postgres: what they judge waits. They fold steps of 7 messages, so that most end inside an entry.
    const settings = {
      ...fixture.environment,
      BATCH_MESSAGES_MAX: '7',
      WINDOW_SECONDS: '1',
      ARCHIVE_DELAY_MS: '0',
    };
    const ids: string[] = [];
    for (let round = 0; round < 4; round += 1) {
      const worker = await WorkerProcess.start(settings);
      for (let n = 0; n < 5; n += 1) {
        const batch = Array.from({ length: 40 }, (_, i) => `${round}.${n}.${i}`);
        ids.push(...batch);
        await post(batch.map((id) => usage(id)));
      }
      await until(5000, 'some are folded', async () => {
        return Number(await fixture.redis.hget(keys.head, 'folded')) > round * 200 + 20;
      });
      await worker.end('SIGKILL');
    }
    const archive = new CollectingArchive();
    const last = {
      BATCH_MESSAGES_MAX: '7',
      WINDOW_SECONDS: '1',
      ARCHIVE_DELAY_MS: '0',
      ARCHIVE_BATCH_EVENTS_MAX: '30',
    };
    await fixture.worker(last, undefined, undefined, archive);
    await until(15_000, 'all are archived', () => archive.judged.length === ids.length);
    expect(archive.judged).to.deep.equal(ids.map((id) => `${id} accepted 1`));
    expect(archive.batches.every(({ events }) => events.length <= 30)).to.equal(true);
  });
});
