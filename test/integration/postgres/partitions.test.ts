import { expect } from 'chai';
import pg from 'pg';
import { sinkUrl } from '../../../shared/postgres/database-url.js';
import { TenancyFixture } from '../../support/tenancy-fixture.js';

const INSERT_EVENT = `INSERT INTO usage_events (accepted_at, partition, entry_seq, message_index, tenant_id, customer_id,
    event_id, event_at, window_start, status, window_revision, endpoint, tokens, input_tokens, output_tokens)
  VALUES ('2033-03-03', 0, 0, 0, 'acme', 1, 'e', now(), now(), 'accepted', 1, '/', 0, 0, 0)`;
const INSERT_ENTRY = `INSERT INTO budget_ledger (at, tenant_id, epoch, seq, kind, window_start, path, held, settled)
  VALUES ('2033-03-03', 'acme', 1, 1, 'reset', now(), '{}', 0, 0)`;

/** Table, what its functions are called after, rows that the fixture fills in, indexes, checks, a row of a far day. */
const TABLES = [
  ['usage_events', 'usage', 24, 3, 1, INSERT_EVENT],
  ['budget_ledger', 'ledger', 6, 2, 2, INSERT_ENTRY],
] as const;

for (const [table, what, filled, indexes, checks, insert] of TABLES) {
  const ensure = `ensure_${what}_partition`;
  const drop = `drop_${what}_partitions`;

  describe(`partitions of ${table}`, () => {
    let fixture: TenancyFixture;
    beforeEach(async () => {
      fixture = await TenancyFixture.start(['acme']);
    });
    afterEach(() => fixture.close());

    async function days(): Promise<string[]> {
      const { rows } = await fixture.owner.query<{ name: string }>(
        `SELECT inhrelid::regclass::text AS name FROM pg_inherits
       WHERE inhparent = $1::regclass ORDER BY 1`,
        [table],
      );
      return rows.map(({ name }) => name.slice(table.length + 1));
    }

    function day(ahead: number): string {
      return new Date(Date.now() + ahead * 86_400_000).toISOString().slice(0, 10).replaceAll('-', '');
    }

    async function sinks<T>(
      count: number,
      work: (sink: pg.Client, index: number) => Promise<T>,
    ): Promise<T[]> {
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
          await sink.query(`SELECT ${ensure}($1)`, [`2031-12-${27 + ((n + index) % 5)}`]);
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
       WHERE relname = '${table}_20311231'`,
        )
        .then((results) => (results as unknown as pg.QueryResult[])[1]!);
      expect(rows[0].bound).to.equal(
        "FOR VALUES FROM ('2031-12-31 00:00:00+00') TO ('2032-01-01 00:00:00+00')",
      );
    });

    it('are made while others read and write, without waiting for them', async () => {
      await sinks(2, async (sink, index) => {
        await sink.query('BEGIN');
        await sink.query(`SELECT count(*) FROM ${table}`);
        await sink.query(`SET LOCAL lock_timeout = '200ms'`);
        await sink.query(`SELECT ${ensure}($1)`, [`2031-01-0${index + 1}`]);
        await sink.query('COMMIT');
      });
      expect((await days()).slice(3)).to.deep.equal(['20310101', '20310102']);
    });

    it('have the indexes, the checks and the comments of their parent, and show nothing themselves', async () => {
      const name = `${table}_${day(0)}`;
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
        { forced: true, grants: null, policies: 0, indexes, explained: indexes, checks },
      ]);
      // Should somebody grant it by mistake, there is still nothing to see; and through the parent there is.
      await fixture.owner.query(`GRANT SELECT ON ${name} TO weir_app, weir_sink`);
      expect(await fixture.asTenant('acme', `SELECT * FROM ${name}`)).to.deep.equal({ rows: [] });
      expect((await fixture.sink.query(`SELECT * FROM ${name}`)).rows).to.deep.equal([]);
      expect((await fixture.sink.query(`SELECT * FROM ${table}`)).rows).to.have.length(filled);
    });

    it('are dropped by day: what is before it goes, at once or not at all', async () => {
      await fixture.sink.query(`SELECT ${ensure}('2020-01-01'), ${ensure}('2020-01-02')`);
      const dropped = async (before: string) =>
        (await fixture.sink.query(`SELECT ${drop}($1) AS n`, [before])).rows[0].n;
      expect(await dropped('2020-01-02')).to.equal(1);
      expect(await dropped('2020-01-02')).to.equal(0);
      expect(await days()).to.deep.equal(['20200102', day(0), day(1), day(2)]);
      await fixture.owner.query(`BEGIN; SELECT count(*) FROM ${table}`);
      const error = await dropped('2021-01-01').catch((failure: { code: string }) => failure.code);
      expect(error).to.equal('55P03');
      await fixture.owner.query('COMMIT');
      expect(await dropped('2021-01-01')).to.equal(1);
      expect((await fixture.sink.query(`SELECT count(*)::int AS n FROM ${table}`)).rows).to.deep.equal([
        { n: filled },
      ]);
    });

    it('refuse a row of a day that has none', async () => {
      expect(await fixture.sink.query(insert).catch((error: { code: string }) => error.code)).to.equal(
        '23514',
      );
    });
  });
}
