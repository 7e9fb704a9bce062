import { expect } from 'chai';
import pg from 'pg';
import { sinkUrl } from '../../../shared/postgres/database-url.js';
import { TenancyFixture } from '../../support/tenancy-fixture.js';

describe('partitions of usage_events', () => {
  let fixture: TenancyFixture;
  beforeEach(async () => {
    fixture = await TenancyFixture.start(['acme']);
  });
  afterEach(() => fixture.close());

  async function days(): Promise<string[]> {
    const { rows } = await fixture.owner.query<{ name: string }>(
      `SELECT inhrelid::regclass::text AS name FROM pg_inherits
       WHERE inhparent = 'usage_events'::regclass ORDER BY 1`,
    );
    return rows.map(({ name }) => name.slice('usage_events_'.length));
  }

  function day(ahead: number): string {
    return new Date(Date.now() + ahead * 86_400_000).toISOString().slice(0, 10).replaceAll('-', '');
  }

  async function sinks<T>(count: number, work: (sink: pg.Client, index: number) => Promise<T>): Promise<T[]> {
    return Promise.all(
      Array.from({ length: count }, async (_, index) => {
        const client = new pg.Client({ connectionString: sinkUrl(fixture.ownerUrl) });
        await client.connect();
        try {
          return await work(client, index);
        } finally {
          await client.end();
        }
      }),
    );
  }

  it('are there for today and two days more after migrating', async () => {
    expect(await days()).to.deep.equal([day(0), day(1), day(2)]);
  });

  it('are made by the sink, by many at once, each once, whatever the session’s time zone and style of dates', async () => {
    await sinks(6, async (sink, index) => {
      await sink.query(`SET TimeZone = 'Pacific/Kiritimati'; SET DateStyle = 'SQL, DMY'`);
      for (let n = 0; n < 5; n += 1) {
        await sink.query('SELECT ensure_usage_partition($1)', [`2031-12-${27 + ((n + index) % 5)}`]);
      }
    });
    expect((await days()).slice(3)).to.deep.equal([
      '20311227',
      '20311228',
      '20311229',
      '20311230',
      '20311231',
    ]);
    const { rows } = await fixture.owner
      .query(
        `SET TimeZone = 'UTC'; SELECT pg_get_expr(relpartbound, oid) AS bound FROM pg_class
       WHERE relname = 'usage_events_20311231'`,
      )
      .then((results) => (results as unknown as pg.QueryResult[])[1]!);
    expect(rows[0].bound).to.equal(
      "FOR VALUES FROM ('2031-12-31 00:00:00+00') TO ('2032-01-01 00:00:00+00')",
    );
  });

  it('are made while others read and write, without waiting for them', async () => {
    await sinks(2, async (sink, index) => {
      await sink.query('BEGIN');
      await sink.query('SELECT count(*) FROM usage_events');
      await sink.query(`SET LOCAL lock_timeout = '200ms'`);
      await sink.query('SELECT ensure_usage_partition($1)', [`2031-01-0${index + 1}`]);
      await sink.query('COMMIT');
    });
    expect((await days()).slice(3)).to.deep.equal(['20310101', '20310102']);
  });

  it('have the indexes, the checks and the comments of usage_events, and show nothing themselves', async () => {
    const name = `usage_events_${day(0)}`;
    const { rows } = await fixture.owner.query(
      `SELECT relrowsecurity AND relforcerowsecurity AS forced, relacl::text AS grants,
         (SELECT count(*)::int FROM pg_policy WHERE polrelid = c.oid) AS policies,
         (SELECT count(*)::int FROM pg_index WHERE indrelid = c.oid) AS indexes,
         (SELECT count(*)::int FROM pg_index i WHERE indrelid = c.oid AND obj_description(indexrelid) IS NOT NULL) AS explained,
         (SELECT count(*)::int FROM pg_constraint WHERE conrelid = c.oid AND contype = 'c') AS checks
       FROM pg_class c WHERE relname = $1`,
      [name],
    );
    expect(rows).to.deep.equal([
      { forced: true, grants: null, policies: 0, indexes: 3, explained: 3, checks: 1 },
    ]);
    // Should somebody grant it by mistake, there is still nothing to see; and through usage_events there is.
    await fixture.owner.query(`GRANT SELECT ON ${name} TO weir_app, weir_sink`);
    expect(await fixture.asTenant('acme', `SELECT * FROM ${name}`)).to.deep.equal({ rows: [] });
    expect((await fixture.sink.query(`SELECT * FROM ${name}`)).rows).to.deep.equal([]);
    expect((await fixture.sink.query('SELECT * FROM usage_events')).rows).to.have.length(24);
  });

  it('are dropped by day: what is before it goes, at once or not at all', async () => {
    await fixture.sink.query(
      `SELECT ensure_usage_partition('2020-01-01'), ensure_usage_partition('2020-01-02')`,
    );
    const dropped = async (before: string) =>
      (await fixture.sink.query('SELECT drop_usage_partitions($1) AS n', [before])).rows[0].n;
    expect(await dropped('2020-01-02')).to.equal(1);
    expect(await dropped('2020-01-02')).to.equal(0);
    expect(await days()).to.deep.equal(['20200102', day(0), day(1), day(2)]);
    await fixture.owner.query('BEGIN; SELECT count(*) FROM usage_events');
    const error = await dropped('2021-01-01').catch((failure: { code: string }) => failure.code);
    expect(error).to.equal('55P03');
    await fixture.owner.query('COMMIT');
    expect(await dropped('2021-01-01')).to.equal(1);
    expect((await fixture.sink.query('SELECT count(*)::int AS n FROM usage_events')).rows).to.deep.equal([
      { n: 24 },
    ]);
  });

  it('refuse an event of a day that has none', async () => {
    const insert = fixture.sink.query(
      `INSERT INTO usage_events (accepted_at, partition, entry_seq, message_index, tenant_id, customer_id, event_id,
         event_at, window_start, status, window_revision, endpoint, tokens, input_tokens, output_tokens)
       VALUES ('2033-03-03', 0, 0, 0, 'acme', 1, 'e', now(), now(), 'accepted', 1, '/', 0, 0, 0)`,
    );
    expect(await insert.catch((error: { code: string }) => error.code)).to.equal('23514');
  });
});
