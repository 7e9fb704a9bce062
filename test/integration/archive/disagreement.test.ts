import { expect } from 'chai';
import type { ArchiveBatch } from '../../../consumer/engine/archive.js';
import { FIRST_POSITION } from '../../../consumer/engine/head.js';
import type { PostgresArchive } from '../../../consumer/sinks/postgres-archive.js';
import { ArchiveUnderTest, JudgedStream } from './archive-under-test.js';

describe('an archive that is not from the same time as Redis', () => {
  let test: ArchiveUnderTest;
  let archive: PostgresArchive;
  beforeEach(async () => {
    test = await ArchiveUnderTest.start();
    archive = test.archive();
  });
  afterEach(() => test.close());

  it('takes what a Redis that was emptied brings, and tells once that Postgres has more', async () => {
    await archive.write(new JudgedStream().judge(['a', 'accepted']).emit({}).batch());
    const anew = new JudgedStream(0, 1000).judge(['b', 'accepted']).judge(['c', 'accepted']);
    await archive.write(anew.batch(0, 1));
    await archive.write(anew.batch(1, 2));
    expect(await test.rows()).to.have.length(3);
    expect(test.metrics.of('ahead')).to.deep.equal(['usage.0']);
  });

  it('takes what a Redis brings whose clock was set back, too', async () => {
    await archive.write(new JudgedStream(0, 5000).judge(['a', 'accepted']).batch());
    const anew = new JudgedStream(0, 1000)
      .judge(['b', 'accepted'])
      .judge(['c', 'cold'])
      .judge(['d', 'accepted']);
    await archive.write(anew.batch(0, 2));
    await archive.write(anew.batch(0, 2));
    await archive.write(anew.batch(2));
    expect(await test.rows()).to.deep.equal([
      '1001-0:0 b accepted 1',
      '1002-0:0 c late 2',
      '1003-0:0 d accepted 1',
      '5001-0:0 a accepted 1',
    ]);
    expect(await test.windows()).to.deep.equal(['c 0 revised 2: 1/10 1']);
    expect(test.metrics.of('ahead')).to.deep.equal(['usage.0']);
  });

  it('knows an event that a Redis from a backup judges anew by its place, and counts it once', async () => {
    const stream = new JudgedStream().emit({}).judge(['a', 'cold'], ['b', 'accepted'], ['c', 'accepted']);
    await archive.write(stream.batch());
    const [a, b, c] = stream.batch().events;
    const outbox = stream.emit({ start: 0, end: 1 }).outboxId(3);
    const anew = new JudgedStream(0, 1000).judge(['d', 'cold'], ['e', 'accepted']);
    const later = [a!, b!, { ...c!, judgement: 'cold' as const }].map((event) => ({ ...event, outbox }));
    const batch: ArchiveBatch = { ...anew.batch(), from: stream.outboxId(2) };
    const events = [...later, ...batch.events];
    expect(await test.archive().write({ ...batch, events })).to.deep.equal([]);
    expect(await test.rows()).to.have.length(5);
    expect(await test.windows()).to.deep.equal(['c 0 revised 3: 3/30 2']);
  });

  it('tells that Postgres has lost what was confirmed, forgets what it knew of it, and goes on', async () => {
    const stream = new JudgedStream()
      .judge(['a', 'accepted'])
      .judge(['b', 'accepted'])
      .judge(['c', 'accepted']);
    await archive.write(stream.batch(0, 1));
    await test.query(
      'TRUNCATE usage_events, aggregation_windows, customers, tenants, sink_positions CASCADE',
    );
    await archive.write(stream.batch(1, 2));
    await archive.write(stream.batch(2, 3));
    expect(test.metrics.of('behind')).to.deep.equal(['usage.0']);
    const rows = await test.query(
      'SELECT external_id FROM usage_events JOIN customers c ON c.id = customer_id',
    );
    expect(rows).to.deep.equal([{ external_id: 'c' }, { external_id: 'c' }]);
  });

  it('has nothing to tell when both are new', async () => {
    const stream = new JudgedStream().judge(['a', 'accepted']);
    expect(stream.batch().from).to.equal(FIRST_POSITION);
    await archive.write(stream.batch());
    expect(test.metrics.told).to.deep.equal([['wrote', 1, 0]]);
  });
});
