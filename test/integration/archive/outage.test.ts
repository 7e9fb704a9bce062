import { expect } from 'chai';
import type pg from 'pg';
import { PostgresServer } from '../../support/postgres-server.js';
import { until } from '../../support/redis-server.js';
import { ArchiveUnderTest, JudgedStream } from './archive-under-test.js';

describe('the archive when Postgres is away', () => {
  let server: PostgresServer;
  let test: ArchiveUnderTest;
  before(async () => {
    server = await PostgresServer.start();
  });
  after(() => server.stop());
  beforeEach(async () => {
    test = await ArchiveUnderTest.start(await server.createDatabase());
  });
  afterEach(() => test.close());

  const EVENTS = 3000;

  /** Enough rows that a transaction takes a while, cold ones among them. */
  function stream(): JudgedStream {
    const judged = new JudgedStream().emit({});
    for (let i = 0; i < EVENTS / 100; i += 1) {
      judged.judge(
        ...Array.from({ length: 100 }, (_, j): [string, 'cold' | 'accepted'] => [
          `${i}-${j}`,
          j === 0 ? 'cold' : 'accepted',
        ]),
      );
    }
    return judged;
  }

  async function failure(write: Promise<unknown>): Promise<Error | undefined> {
    try {
      await write;
      return undefined;
    } catch (error) {
      return error as Error;
    }
  }

  /** Process ids of the sink's sessions that are inside of a transaction. */
  async function working(): Promise<number[]> {
    const rows = await test.query<{ pid: number }>(
      `SELECT pid FROM pg_stat_activity WHERE application_name = 'weir-test-sink' AND xact_start IS NOT NULL
         AND datname = current_database()`,
    );
    return rows.map(({ pid }) => pid);
  }

  async function expectWhole(): Promise<void> {
    const [rows] = await test.query('SELECT count(*) AS rows FROM usage_events');
    expect(rows).to.deep.equal({ rows: EVENTS });
    expect(await test.windows()).to.deep.equal([`c 0 revised 2: ${1 + EVENTS / 100}/${10 + EVENTS / 10} 30`]);
  }

  it('writes nothing of a batch in whose middle it was killed, and all of it when it is back', async () => {
    const archive = test.archive();
    const batch = stream().batch();
    await archive.write(new JudgedStream(1).judge(['warm', 'dead']).batch());
    await test.query('DELETE FROM usage_events');
    const write = failure(archive.write(batch));
    await until(5000, 'the transaction is under way', async () => (await working()).length > 0);
    await server.kill();
    expect(await write).to.be.instanceOf(Error);
    expect(await failure(archive.write(batch))).to.be.instanceOf(Error);
    await server.restart();
    expect(await archive.write(batch)).to.deep.equal([]);
    await expectWhole();
  });

  it('gives up a server that does not answer, and writes when it is well', async () => {
    const archive = test.archive({ statementMsMax: 400 });
    const batch = stream().batch();
    await test.query(`SELECT ensure_usage_partition('2026-01-15')`);
    const holder = await test.owner.connect();
    try {
      // The first thing that a batch wants is the place of the position.
      await holder.query('BEGIN; LOCK sink_positions');
      const write = failure(archive.write(batch));
      let frozen: number[] = [];
      await until(5000, 'the sink waits', async () => {
        const waiting = await test.query<{ pid: number }>(
          `SELECT pid FROM pg_stat_activity WHERE application_name = 'weir-test-sink' AND wait_event_type = 'Lock'`,
        );
        frozen = waiting.map(({ pid }) => pid);
        return frozen.length === 1;
      });
      // Stopped, it does not even see that its time is over.
      process.kill(frozen[0]!, 'SIGSTOP');
      const error = await write;
      process.kill(frozen[0]!, 'SIGCONT');
      expect(error?.message).to.equal('Query read timeout');
      const another = await failure(archive.write(batch));
      expect(another?.message).to.equal('canceling statement due to statement timeout');
    } finally {
      await holder.query('ROLLBACK');
      holder.release();
    }
    expect(await archive.write(batch)).to.deep.equal([]);
    await expectWhole();
  });

  it('writes once when the answer to the commit is lost', async () => {
    const pool = test.sinkPool();
    let loses = false;
    pool.on('connect', (client) => {
      const query = client.query.bind(client) as (config: pg.QueryConfig) => Promise<unknown>;
      const losing = async (config: pg.QueryConfig) => {
        const result = await query(config);
        if (!loses || config.text !== 'COMMIT') return result;
        throw new Error('the answer is lost');
      };
      Object.assign(client, { query: losing });
    });
    const archive = test.archive({ pool });
    // Now it knows the customer and the day, and nothing but the batch is committed.
    await archive.write(new JudgedStream(1).judge(['warm', 'dead']).batch());
    await test.query('DELETE FROM usage_events');
    const batch = stream().batch();
    loses = true;
    expect((await failure(archive.write(batch)))?.message).to.equal('the answer is lost');
    await expectWhole();
    loses = false;
    expect(await archive.write(batch)).to.deep.equal([]);
    await expectWhole();
  });

  it('writes once however often its session is ended', async () => {
    const archive = test.archive();
    const batch = stream().batch();
    for (let turn = 0; turn < 5; turn += 1) {
      const write = failure(archive.write(batch));
      let ended = false;
      write.then(() => {
        ended = true;
      });
      let pids: number[] = [];
      while (pids.length === 0 && !ended) pids = await working();
      for (const pid of pids) await test.query('SELECT pg_terminate_backend($1)', [pid]);
      await write;
    }
    expect(await archive.write(batch)).to.deep.equal([]);
    await expectWhole();
  });
});
