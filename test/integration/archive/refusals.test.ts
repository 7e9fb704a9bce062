import { expect } from 'chai';
import type { RefusedEvent } from '../../../consumer/engine/archive.js';
import type { PostgresArchive } from '../../../consumer/sinks/postgres-archive.js';
import { ArchiveUnderTest, type EventOptions, JudgedStream, T0 } from './archive-under-test.js';

/** jsonb has no U+0000: only Postgres itself notices. */
const POISON = { data: ['/e', 10, 4, 6, 'm', null, { text: 'a\0b' }] };

describe('what Postgres refuses', () => {
  let test: ArchiveUnderTest;
  let archive: PostgresArchive;
  beforeEach(async () => {
    test = await ArchiveUnderTest.start();
    archive = test.archive();
  });
  afterEach(() => test.close());

  const idsOf = (refused: readonly RefusedEvent[]) => refused.map(({ event }) => event.message.id);

  it('is found among its neighbours, which go in', async () => {
    const events = Array.from({ length: 1200 }, (_, i): [string, 'accepted', EventOptions] => [
      `e${i}`,
      'accepted',
      [0, 77, 78, 600, 1199].includes(i) ? POISON : {},
    ]);
    const refused = await archive.write(new JudgedStream().judge(...events).batch());
    expect(idsOf(refused)).to.deep.equal(['e0', 'e77', 'e78', 'e600', 'e1199']);
    for (const { error } of refused) expect(error).to.equal('unsupported Unicode escape sequence');
    expect(await test.rows()).to.have.length(1195);
    expect(test.metrics.told).to.deep.equal([
      ['wrote', 1195, 0],
      ['refused', 5],
    ]);
  });

  it('is refused again when the owner died before it could tell, and nothing else is written twice', async () => {
    const stream = new JudgedStream()
      .judge(['a', 'accepted'], ['bad', 'accepted', POISON])
      .judge(['b', 'accepted'], ['c', 'accepted']);
    expect(idsOf(await archive.write(stream.batch()))).to.deep.equal(['bad']);
    expect(idsOf(await test.archive().write(stream.batch()))).to.deep.equal(['bad']);
    expect(await test.rows()).to.deep.equal([
      '1-0:0 a accepted 1',
      '2-0:0 b accepted 1',
      '2-0:1 c accepted 1',
    ]);
    expect(test.metrics.of('ahead')).to.deep.equal([]);
  });

  it('is an event with an id, a name or a place that no column takes', async () => {
    const long = 'x'.repeat(129);
    const name = (endpoint: string, model: string | null = null) => ({
      data: [endpoint, 1, 0, 0, model, null],
    });
    const bad: Record<string, readonly [string, 'accepted', EventOptions]> = {
      'no tenant': ['1', 'accepted', { tenant: undefined }],
      'bad tenant': ['2', 'accepted', { tenant: 'a b' }],
      'NUL in customer': ['3', 'accepted', { customer: 'a\0b' }],
      'long customer': ['4', 'accepted', { customer: long }],
      'half a character in customer': ['5', 'accepted', { customer: '\ud800' }],
      'NUL in id': ['6\0', 'accepted', {}],
      'long id': [long, 'accepted', {}],
      'no id': ['', 'accepted', {}],
      'NUL in endpoint': ['8', 'accepted', name('\0')],
      'half a character in model': ['9', 'accepted', name('/e', '\udc00')],
      'no usage': ['10', 'accepted', { data: { tokens: 3 } }],
      'fraction of a token': ['11', 'accepted', { data: ['/e', 0.5, 0, 0, null, null] }],
      'half a character in metadata': [
        '12',
        'accepted',
        { data: ['/e', 1, 0, 0, null, null, { a: '\ud800' }] },
      ],
    };
    const stream = new JudgedStream().judge(['good', 'accepted'], ...Object.values(bad), [
      'fine',
      'accepted',
    ]);
    const refused = await archive.write(stream.batch());
    expect(new Set(idsOf(refused))).to.deep.equal(new Set(Object.values(bad).map(([id]) => id)));
    expect(await test.rows()).to.deep.equal(['1-0:0 good accepted 1', '1-0:14 fine accepted 1']);
  });

  it('is an event whose entry id somebody invented', async () => {
    const batch = new JudgedStream().judge(['a', 'accepted'], ['b', 'accepted'], ['c', 'accepted']).batch();
    const [a, b, c] = batch.events;
    const invented = [
      { ...a!, entry: `${T0}-4294967296` },
      { ...b!, entry: '18446744073709551615-0' },
      { ...c!, entry: `${T0 + 1}-2147483647` },
    ];
    expect(idsOf(await archive.write({ ...batch, events: invented }))).to.deep.equal(['a', 'b']);
    expect(await test.rows()).to.deep.equal(['1-2147483647:2 c accepted 1']);
  });

  it('is kept as a trace where the event is dead or a duplicate, and left out where there is no trace', async () => {
    const stream = new JudgedStream().judge(
      ['sum too large', 'dead', { data: ['/e', 5, 2, 3, 'm', 7, { a: 1 }] }],
      ['poison', 'dead', POISON],
      ['no usage', 'dead', { data: null }],
      ['odd time', 'dead', { at: Number.NaN }],
      ['NUL name', 'dead', { data: ['\0', 1, 0, 0, null, null] }],
      ['again', 'duplicate', POISON],
      ['no tenant', 'dead', { tenant: undefined }],
      ['bad\0id', 'dead'],
      ['bad customer', 'duplicate', { customer: '\0' }],
      ['archived', 'accepted', { type: 'archived', tenant: undefined, customer: '' }],
    );
    expect(await archive.write(stream.batch())).to.deep.equal([]);
    const rows = await test.query(
      `SELECT event_id AS id, status, endpoint, tokens::integer, latency_us::integer AS us, metadata::text,
         event_at = accepted_at AS no_time
       FROM usage_events ORDER BY message_index`,
    );
    const blank = { endpoint: '', tokens: 0, us: null, metadata: '{}', no_time: false };
    const full = { endpoint: '/e', tokens: 10, us: null, metadata: '{}', no_time: false };
    expect(rows).to.deep.equal([
      { ...full, id: 'sum too large', status: 'dead', tokens: 5, us: 7 },
      { ...full, id: 'poison', status: 'dead' },
      { ...blank, id: 'no usage', status: 'dead' },
      { ...blank, id: 'odd time', status: 'dead', no_time: true },
      { ...blank, id: 'NUL name', status: 'dead' },
      { ...full, id: 'again', status: 'duplicate' },
    ]);
    expect(test.metrics.told).to.deep.equal([
      ['wrote', 6, 0],
      ['skipped', 3],
    ]);
  });

  it('is a window too, and then the others go in', async () => {
    const stream = new JudgedStream()
      .judge(['a', 'accepted'])
      .emit({ customer: 'c', endpoints: [['nul \0', 1, 10]] })
      .emit({ customer: 'd' })
      .emit({ customer: 'e', calls: 2 ** 64 })
      .emit({ customer: 'bad\0' })
      .emit({ customer: 'f', start: Number.NaN });
    expect(await archive.write(stream.batch())).to.deep.equal([]);
    expect(await test.windows()).to.deep.equal(['d 0 closed 1: 1/10 0']);
    expect(await test.rows()).to.have.length(1);
    expect(test.metrics.of('windowsRefused')).to.deep.equal([1, 1, 1, 1]);
  });

  it('does not include what is only remembered wrongly: customers that somebody deleted', async () => {
    const stream = new JudgedStream()
      .judge(['a', 'accepted'])
      .judge(['b', 'accepted'])
      .emit({ calls: 2, tokens: 20 });
    await archive.write(stream.batch(0, 1));
    await test.query('DELETE FROM usage_events');
    await test.query('DELETE FROM customers');
    await test.query(`DELETE FROM tenants WHERE id <> 'default'`);
    expect(await archive.write(stream.batch(1))).to.deep.equal([]);
    expect(await test.windows()).to.deep.equal(['c 0 closed 1: 2/20 0']);
    const [row] = await test.query(
      'SELECT external_id FROM usage_events JOIN customers c ON c.id = customer_id',
    );
    expect(row).to.deep.equal({ external_id: 'c' });
  });

  it('does not include what is only remembered wrongly: the partition of a day', async () => {
    const stream = new JudgedStream().judge(['a', 'accepted']).judge(['b', 'accepted']);
    await archive.write(stream.batch(0, 1));
    await test.query(`SELECT drop_usage_partitions('2026-01-16')`);
    expect(await archive.write(stream.batch(1))).to.deep.equal([]);
    expect(await test.rows()).to.deep.equal(['2-0:0 b accepted 1']);
  });
});
