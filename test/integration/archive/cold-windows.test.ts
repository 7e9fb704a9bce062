import { expect } from 'chai';
import type { PostgresArchive } from '../../../consumer/sinks/postgres-archive.js';
import { correct } from '../../../rules/windows/correct.js';
import type { UsageEvent } from '../../../rules/windows/usage-event.js';
import { ArchiveUnderTest, emission, JudgedStream, T0, WINDOW_MS } from './archive-under-test.js';

const POISON = { data: ['/e', 10, 4, 6, 'm', null, { text: '\0' }] };

describe('windows that have left Redis', () => {
  let test: ArchiveUnderTest;
  let archive: PostgresArchive;
  beforeEach(async () => {
    test = await ArchiveUnderTest.start();
    archive = test.archive();
  });
  afterEach(() => test.close());

  it('are corrected in Postgres, all of a batch in one revision, which the rows name', async () => {
    const stream = new JudgedStream()
      .judge(['a', 'accepted'])
      .emit({})
      .judge(['b', 'cold'], ['c', 'cold', { at: WINDOW_MS }], ['b', 'duplicate'])
      .judge(['d', 'cold', { at: WINDOW_MS - 1 }]);
    await archive.write(stream.batch(0, 2));
    expect(await archive.write(stream.batch(2))).to.deep.equal([]);
    expect(await test.rows()).to.deep.equal([
      '1-0:0 a accepted 1',
      '3-0:0 b late 2',
      '3-0:1 c late 2',
      '3-0:2 b duplicate 0',
      '4-0:0 d late 2',
    ]);
    // The second had no events: it begins as its own correction.
    expect(await test.windows()).to.deep.equal(['c 0 revised 2: 3/30 2', 'c 1 revised 2: 1/10 1']);
    expect(test.metrics.of('corrected')).to.deep.equal([2]);
  });

  it('are counted as the rules count', async () => {
    const data = (endpoint: string) => [endpoint, 7, 3, 4, '__proto__', 2500];
    const stream = new JudgedStream(5).emit({}).judge(
      ['a', 'cold', { data: data('/e') }],
      ['b', 'cold', { data: data('/f') }],
      ['c', 'cold', { data: data('/g') }],
      // One more than there may be.
      ['d', 'cold', { data: data('/h') }],
    );
    await archive.write(stream.batch());
    const [stored] = await test.query(
      `SELECT *, (extract(epoch FROM as_of_at) * 1000)::bigint AS as_of_ms FROM aggregation_windows`,
    );
    const expected = correct(
      emission({}),
      stream.batch().events.map(({ message, entry, index }) => ({
        event: message as UsageEvent,
        place: { entry, index },
      })),
      { windowMs: WINDOW_MS, dimensionsMax: 3 },
    );
    expect(expected.endpoints).to.deep.equal([
      ['/e', 2, 17],
      ['/f', 1, 7],
      ['/g', 1, 7],
      ['__other__', 1, 7],
    ]);
    expect(stored).to.deep.include({
      ...{ status: 'revised', revision: 2, partition: 5, late_events: 4 },
      ...{ total_calls: 5, total_tokens: 38, total_input_tokens: 16, total_output_tokens: 22 },
      ...{ latency_count: 5, latency_sum_us: 11_000, as_of_ms: T0 + 2, as_of_seq: 0, as_of_index: 3 },
      aggregation_data: { endpoints: expected.endpoints, models: expected.models, latency: expected.latency },
    });
  });

  it('are corrected once, whoever writes the batch again', async () => {
    const stream = new JudgedStream().emit({}).judge(['a', 'cold']).judge(['b', 'cold']);
    await archive.write(stream.batch());
    await archive.write(stream.batch());
    await test.archive().write(stream.batch(1, 2));
    await test.archive().write(stream.batch(2));
    expect(await test.windows()).to.deep.equal(['c 0 revised 2: 3/30 2']);
    expect(await test.rows()).to.have.length(2);
    expect(test.metrics.of('corrected')).to.deep.equal([1]);
  });

  it('are not set back by the emission of a zombie', async () => {
    const stream = new JudgedStream().judge(['a', 'accepted']).emit({}).judge(['b', 'cold']);
    const zombie = stream.batch(1, 2);
    await archive.write(stream.batch());
    await test.archive().write(zombie);
    expect(await test.windows()).to.deep.equal(['c 0 revised 2: 2/20 1']);
  });

  it('get a revision more with every batch', async () => {
    const stream = new JudgedStream().emit({}).judge(['a', 'cold']).judge(['b', 'cold']).judge(['c', 'cold']);
    for (let i = 0; i < 4; i += 1) await archive.write(stream.batch(i, i + 1));
    expect(await test.windows()).to.deep.equal(['c 0 revised 4: 4/40 3']);
    expect(await test.rows()).to.deep.equal(['2-0:0 a late 2', '3-0:0 b late 3', '4-0:0 c late 4']);
  });

  it('count no event whose row Postgres refuses', async () => {
    const stream = new JudgedStream()
      .emit({})
      .judge(['a', 'cold'], ['bad', 'cold', POISON], ['only bad', 'cold', { ...POISON, at: WINDOW_MS }]);
    const refused = await archive.write(stream.batch());
    expect(refused.map(({ event }) => event.message.id)).to.deep.equal(['bad', 'only bad']);
    expect(await test.windows()).to.deep.equal(['c 0 revised 2: 2/20 1']);
    expect(await test.rows()).to.deep.equal(['2-0:0 a late 2']);
    expect(await test.archive().write(stream.batch())).to.have.length(2);
    expect(await test.windows()).to.deep.equal(['c 0 revised 2: 2/20 1']);
  });

  it('refuse the events whose sum would not be exact, and take the others', async () => {
    const tokens = Number.MAX_SAFE_INTEGER - 15;
    const stream = new JudgedStream().emit({ tokens }).judge(['a', 'cold'], ['b', 'cold'], ['c', 'cold']);
    const refused = await archive.write(stream.batch());
    expect(refused.map(({ event, error }) => [event.message.id, error])).to.deep.equal([
      ['b', 'the sum of tokens would no longer be exact'],
      ['c', 'the sum of tokens would no longer be exact'],
    ]);
    expect(await test.windows()).to.deep.equal([`c 0 revised 2: 2/${tokens + 10} 1`]);
    expect(await test.rows()).to.deep.equal(['2-0:0 a late 2']);
  });

  it('refuse the events of a correction that Postgres refuses, and take those of other windows', async () => {
    await test.query('ALTER TABLE aggregation_windows ADD CHECK (total_tokens <> 30)');
    const stream = new JudgedStream()
      .emit({})
      .judge(['a', 'cold'], ['b', 'cold', { at: WINDOW_MS }], ['c', 'accepted'], ['d', 'cold'])
      .judge(['e', 'cold']);
    const refused = await archive.write(stream.batch(0, 2));
    expect(refused.map(({ event }) => event.message.id)).to.deep.equal(['a', 'd']);
    expect(await archive.write(stream.batch(2))).to.deep.equal([]);
    expect(await test.windows()).to.deep.equal(['c 0 revised 2: 2/20 1', 'c 1 revised 2: 1/10 1']);
    expect(await test.rows()).to.deep.equal(['2-0:1 b late 2', '2-0:2 c accepted 1', '3-0:0 e late 2']);
  });

  it('refuse an event in a revision that no column takes', async () => {
    const stream = new JudgedStream().emit({ revision: 2 ** 31 - 1 }).judge(['a', 'cold'], ['b', 'accepted']);
    const refused = await archive.write(stream.batch());
    expect(refused.map(({ event }) => event.message.id)).to.deep.equal(['a']);
    expect(await test.windows()).to.deep.equal([`c 0 closed ${2 ** 31 - 1}: 1/10 0`]);
    expect(await test.rows()).to.deep.equal(['2-0:1 b accepted 1']);
  });
});
