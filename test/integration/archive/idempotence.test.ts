import { expect } from 'chai';
import type { PostgresArchive } from '../../../consumer/sinks/postgres-archive.js';
import { until } from '../../support/redis-server.js';
import { ArchiveUnderTest, JudgedStream, T0 } from './archive-under-test.js';

describe('the archive in Postgres, writing once', () => {
  let test: ArchiveUnderTest;
  let archive: PostgresArchive;
  beforeEach(async () => {
    test = await ArchiveUnderTest.start();
    archive = test.archive();
  });
  afterEach(() => test.close());

  /** Some outbox entries; window 0 of customer c closes with calls 1, and is revised to 2. */
  const story = () =>
    new JudgedStream()
      .judge(['a', 'accepted'], ['b', 'accepted', { customer: 'd' }], ['a', 'duplicate'])
      .emit({ asOf: [`${T0 + 1}-0`, 0] })
      .judge(['x', 'dead'], ['l', 'late', { revision: 2 }])
      .emit({ asOf: [`${T0 + 3}-0`, 1], status: 'revised', revision: 2, calls: 2, tokens: 20, late: 1 });
  const ROWS = [
    '1-0:0 a accepted 1',
    '1-0:1 b accepted 1',
    '1-0:2 a duplicate 0',
    '3-0:0 x dead 0',
    '3-0:1 l late 2',
  ];
  const WINDOWS = ['c 0 revised 2: 2/20 1'];

  async function position(): Promise<unknown> {
    const [row] = await test.query('SELECT sink, stream, outbox_id, stream_position FROM sink_positions');
    return row;
  }

  it('keeps every message with what became of it, the last emission of a window, and how far it is', async () => {
    const stream = story();
    expect(await archive.write(stream.batch())).to.deep.equal([]);
    expect(await test.rows()).to.deep.equal(ROWS);
    expect(await test.windows()).to.deep.equal(WINDOWS);
    expect(test.metrics.told).to.deep.equal([['wrote', 5, 1]]);
    expect(await position()).to.deep.equal({
      sink: 'archive',
      stream: 'usage.0',
      outbox_id: stream.outboxId(4),
      stream_position: `${T0 + 3}-0`,
    });
  });

  it('keeps an event field by field', async () => {
    const data = ['/v1/chat', 30, 10, 20, 'gpt', 1500, { region: 'eu', nested: { deep: [1, null] } }];
    const stream = new JudgedStream(3, 86_400_000)
      .judge(['e', 'accepted', { at: 61_000, data }])
      .judge(['f', 'accepted', { at: -1, data: ['', 0, 0, 0, null, null], source: '/gateway/漢' }]);
    await archive.write(stream.batch());
    const rows = await test.query(
      `SELECT u.*, external_id FROM usage_events u JOIN customers c ON c.id = customer_id ORDER BY accepted_at`,
    );
    const common = { partition: 3, tenant_id: 't', external_id: 'c', status: 'accepted', window_revision: 1 };
    const customer_id = rows[0]!['customer_id'] as number;
    expect(rows).to.deep.equal([
      {
        ...{ ...common, customer_id, entry_seq: 0, message_index: 0, event_id: 'e' },
        ...{ accepted_at: new Date(T0 + 86_400_001), event_at: new Date(T0 + 61_000) },
        ...{ window_start: new Date(T0 + 60_000), endpoint: '/v1/chat', model: 'gpt', latency_us: 1500 },
        ...{ tokens: 30, input_tokens: 10, output_tokens: 20 },
        metadata: { region: 'eu', nested: { deep: [1, null] } },
        source: null,
      },
      {
        ...{ ...common, customer_id, entry_seq: 0, message_index: 0, event_id: 'f' },
        ...{ accepted_at: new Date(T0 + 86_400_002), event_at: new Date(T0 - 1) },
        ...{ window_start: new Date(T0 - 30_000), endpoint: '', model: null, latency_us: null },
        ...{ tokens: 0, input_tokens: 0, output_tokens: 0, metadata: {}, source: '/gateway/漢' },
      },
    ]);
  });

  it('writes a batch that comes twice once', async () => {
    const stream = story();
    await archive.write(stream.batch());
    expect(await archive.write(stream.batch())).to.deep.equal([]);
    expect(await test.archive().write(stream.batch())).to.deep.equal([]);
    expect(await test.rows()).to.deep.equal(ROWS);
    expect(await test.windows()).to.deep.equal(WINDOWS);
    expect(test.metrics.of('wrote')).to.deep.equal([5, 0, 0]);
    expect(test.metrics.of('ahead')).to.deep.equal([]);
  });

  it('goes on from where a dead owner stopped, however the batches are cut', async () => {
    const stream = story();
    await archive.write(stream.batch(0, 3));
    const next = test.archive();
    await next.write(stream.batch(0, 2));
    await next.write(stream.batch(1, 4));
    await next.write(stream.batch(4, 4));
    expect(await test.rows()).to.deep.equal(ROWS);
    expect(await test.windows()).to.deep.equal(WINDOWS);
    expect(test.metrics.told.map(([name]) => name)).to.deep.equal(['wrote', 'wrote', 'wrote', 'wrote']);
    expect(await position()).to.include({ outbox_id: stream.outboxId(4) });
  });

  it('is not set back by a zombie that writes what is long written', async () => {
    const stream = story();
    const zombie = stream.batch(0, 2);
    await archive.write(stream.batch());
    expect(await test.archive().write(zombie)).to.deep.equal([]);
    expect(await test.rows()).to.deep.equal(ROWS);
    expect(await test.windows()).to.deep.equal(WINDOWS);
    expect(await position()).to.include({ outbox_id: stream.outboxId(4) });
  });

  it('does not mind a zombie that writes before the owner does', async () => {
    const stream = story();
    await test.archive().write(stream.batch());
    await archive.write(stream.batch(0, 1));
    await archive.write(stream.batch(1, 4));
    expect(await test.rows()).to.deep.equal(ROWS);
    expect(await test.windows()).to.deep.equal(WINDOWS);
  });

  it('writes once what two sinks write at the same time', async () => {
    const stream = new JudgedStream();
    for (let i = 0; i < 40; i += 1) {
      stream.judge(
        ...Array.from({ length: 20 }, (_, j): [string, 'accepted' | 'cold', object] => [
          `${i}-${j}`,
          j % 5 === 0 ? 'cold' : 'accepted',
          { tenant: `t${j % 7}`, customer: `c${(i * j) % 50}` },
        ]),
      );
    }
    const sinks = [archive, test.archive()];
    await Promise.all(
      sinks.map(async (sink, s) => {
        for (let from = 0; from < 40; from += 5 + s)
          await sink.write(stream.batch(from, Math.min(40, from + 5 + s)));
      }),
    );
    const [count] = await test.query(
      'SELECT count(*) AS rows, count(DISTINCT event_id) AS events FROM usage_events',
    );
    expect(count).to.deep.equal({ rows: 800, events: 800 });
    const written = (test.metrics.of('wrote') as number[]).reduce((sum, rows) => sum + rows, 0);
    expect(written).to.equal(800);
    const [cold] = await test.query('SELECT sum(total_calls)::integer AS calls FROM aggregation_windows');
    expect(cold).to.deep.equal({ calls: 160 });
    expect(await position()).to.include({ outbox_id: stream.outboxId(40) });
  });

  it('looks where it is, and what a window has, only when others have finished with them', async () => {
    const stream = new JudgedStream().judge(['a', 'accepted']).emit({}).judge(['b', 'cold']);
    await archive.write(stream.batch(0, 2));
    for (const [table, statement] of [
      ['sink_positions', 'SELECT outbox_id'],
      ['aggregation_windows', 'SELECT asked'],
    ]) {
      const other = await test.owner.connect();
      try {
        await other.query(`BEGIN; SELECT * FROM ${table} FOR UPDATE`);
        const write = archive.write(stream.batch(2));
        await until(5000, `the sink waits for ${table}`, async () => {
          const waiting = await test.query(
            `SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE $1 || '%'
               AND datname = current_database()`,
            [statement],
          );
          return waiting.length === 1;
        });
        await other.query('ROLLBACK');
        await write;
      } finally {
        other.release();
      }
      // For the next turn.
      await test.query(`DELETE FROM usage_events WHERE event_id = 'b'`);
    }
    expect(await test.windows()).to.deep.equal(['c 0 revised 3: 3/30 2']);
  });

  it('makes each customer once when several partitions meet them at the same time', async () => {
    const streams = Array.from({ length: 4 }, (_, index) => {
      const names = Array.from({ length: 300 }, (_, i) => `c${(i * 7 + index * 11) % 300}`);
      return new JudgedStream(index).judge(
        ...names.map((customer, i): [string, 'accepted', object] => [
          customer,
          'accepted',
          { customer, tenant: `t${i % 9}` },
        ]),
      );
    });
    await Promise.all(streams.map((stream) => test.archive().write(stream.batch())));
    const [counts] = await test.query(
      `SELECT (SELECT count(*) FROM tenants WHERE id ~ '^t') AS tenants, count(*) AS customers,
         count(DISTINCT (tenant_id, external_id)) AS names FROM customers`,
    );
    expect(counts!['tenants']).to.equal(9);
    expect(counts!['customers']).to.equal(counts!['names']);
    const [orphans] = await test.query(
      `SELECT count(*) AS rows FROM usage_events u LEFT JOIN customers c
       ON c.id = u.customer_id AND c.tenant_id = u.tenant_id WHERE c.id IS NULL`,
    );
    expect(orphans).to.deep.equal({ rows: 0 });
  });

  it('finds every customer of a batch that has more of them than it remembers', async () => {
    const few = test.archive({ customersMax: 4 });
    const stream = new JudgedStream();
    for (let i = 0; i < 3; i += 1) {
      stream.judge(
        ...Array.from({ length: 20 }, (_, j): [string, 'accepted', object] => [
          `${i}-${j}`,
          'accepted',
          { customer: `c${j}` },
        ]),
      );
    }
    for (let i = 0; i < 3; i += 1) await few.write(stream.batch(i, i + 1));
    const rows = await test.query(
      `SELECT external_id, count(*) AS events FROM usage_events u JOIN customers c ON c.id = customer_id GROUP BY 1`,
    );
    expect(rows).to.have.length(20);
    for (const row of rows) expect(row['events']).to.equal(3);
  });

  it('keeps names that mean something to JavaScript', async () => {
    const data = [
      '__proto__',
      10,
      4,
      6,
      'constructor',
      null,
      JSON.parse('{"__proto__":{"a":1},"x":"\\t\\\\n"}'),
    ];
    const stream = new JudgedStream()
      .judge(['toString', 'accepted', { customer: '__proto__', data }])
      .emit({ customer: '__proto__', endpoints: [['__proto__', 1, 10]], models: [['constructor', 1, 10]] });
    await archive.write(stream.batch());
    const [row] = await test.query(
      `SELECT event_id, external_id, endpoint, model, metadata::text, aggregation_data FROM usage_events u
       JOIN customers c ON c.id = customer_id JOIN aggregation_windows w USING (customer_id)`,
    );
    expect(row).to.deep.equal({
      event_id: 'toString',
      external_id: '__proto__',
      endpoint: '__proto__',
      model: 'constructor',
      metadata: '{"x": "\\t\\\\n", "__proto__": {"a": 1}}',
      aggregation_data: {
        endpoints: [['__proto__', 1, 10]],
        models: [['constructor', 1, 10]],
        latency: [349, 1],
      },
    });
  });

  it('keeps any text as it is', async () => {
    const texts = ['tab\tline\nback\\slash\r"quote\' {},NULL \\N \\.', 'é€𝄞', ' ', 'x'.repeat(5000)];
    const stream = new JudgedStream().judge(
      ...texts.map((text, i): [string, 'accepted', object] => [
        text.slice(0, 60),
        'accepted',
        { customer: text.slice(0, 50), data: [text, i, 0, 0, text, null, { text }] },
      ]),
    );
    await archive.write(stream.batch());
    const rows = await test.query(
      `SELECT event_id, external_id, endpoint, model, metadata FROM usage_events u
       JOIN customers c ON c.id = customer_id ORDER BY message_index`,
    );
    expect(rows).to.deep.equal(
      texts.map((text) => ({
        event_id: text.slice(0, 60),
        external_id: text.slice(0, 50),
        ...{ endpoint: text, model: text, metadata: { text } },
      })),
    );
  });
});
