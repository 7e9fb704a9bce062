import { expect } from 'chai';
import fc from 'fast-check';
import type pg from 'pg';
import {
  countRecentAgain,
  findCountedAgain,
  type LookedAt,
} from '../../../consumer/reconcile/counted-again.js';
import type { PostgresArchive } from '../../../consumer/sinks/postgres-archive.js';
import type { Judgement } from '../../../shared/messages/verdicts.js';
import { patient } from '../../support/redis-server.js';
import { ArchiveUnderTest, JudgedStream, T0 } from '../archive/archive-under-test.js';

const DAY_MS = 86_400_000;
const NOTHING: LookedAt = new Map();

describe('events that counted again', () => {
  let test: ArchiveUnderTest;
  let archive: PostgresArchive;
  let pool: pg.Pool;
  beforeEach(async () => {
    test = await ArchiveUnderTest.start();
    archive = test.archive();
    pool = test.sinkPool();
  });
  afterEach(() => test.close());

  const options = () => ({
    pool,
    statementMsMax: 20_000,
    runMsMax: 20_000,
    dedupeWindowMs: 3_600_000,
    signal: new AbortController().signal,
  });

  it('are found by customer, source and id, with how often they counted', async () => {
    const stream = new JudgedStream()
      .judge(['e1', 'accepted'], ['e2', 'accepted'], ['e1', 'duplicate'], ['e3', 'dead'])
      .judge(['e1', 'late'], ['e2', 'accepted', { customer: 'c2' }], ['e2', 'accepted', { source: '/a' }])
      .judge(['e1', 'accepted', { at: 60_000 }], ['e2', 'accepted', { source: '/a' }], ['e3', 'accepted']);
    await archive.write(stream.batch());
    expect(await findCountedAgain(options(), 0)).to.deep.equal({
      ids: 2,
      again: 3,
      first: [
        { tenant: 't', customer: 'c', source: null, eventId: 'e1', counted: 3 },
        { tenant: 't', customer: 'c', source: '/a', eventId: 'e2', counted: 2 },
      ],
    });
    expect((await findCountedAgain(options(), T0 + 30_000)).ids).to.equal(1);
    expect((await findCountedAgain(options(), T0 + 60_001)).ids).to.equal(0);
    expect((await countRecentAgain(options(), NOTHING)).again).to.equal(3);
  });

  it('are counted by a run once, and by the next one not again', async () => {
    const stream = new JudgedStream().judge(['e1', 'accepted'], ['e1', 'accepted']).judge(['e1', 'accepted']);
    await archive.write(stream.batch(0, 1));
    const first = await countRecentAgain(options(), NOTHING);
    expect(first).to.deep.equal({ again: 1, lookedAt: new Map([[0, `${T0 + 1}-0`]]) });
    await archive.write(stream.batch(1));
    const second = await countRecentAgain(options(), first.lookedAt);
    expect(second.again).to.equal(1);
    expect(await countRecentAgain(options(), second.lookedAt)).to.deep.equal({ ...second, again: 0 });
  });

  it('are counted within two days of the first time; a look at all finds the others too', async () => {
    let lookedAt = NOTHING;
    const found: number[] = [];
    for (const days of [0, 1, 4]) {
      await archive.write(new JudgedStream(days, days * DAY_MS).judge(['e', 'accepted']).batch());
      const run = await countRecentAgain(options(), lookedAt);
      found.push(run.again);
      ({ lookedAt } = run);
    }
    expect(found).to.deep.equal([0, 1, 0]);
    expect(await findCountedAgain(options(), 0)).to.include({ ids: 1, again: 2 });
  });

  it('are counted also where an id is remembered for longer than two days', async () => {
    const dedupeWindowMs = 3 * DAY_MS;
    await archive.write(new JudgedStream(0).judge(['e', 'accepted']).batch());
    const first = await countRecentAgain({ ...options(), dedupeWindowMs }, NOTHING);
    await archive.write(new JudgedStream(5, 5 * DAY_MS).judge(['e', 'accepted']).batch());
    expect((await countRecentAgain({ ...options(), dedupeWindowMs }, first.lookedAt)).again).to.equal(1);
  });

  it('are found at once in a partition that was quiet, whatever the others had meanwhile', async () => {
    const quiet = new JudgedStream(1).judge(['e', 'accepted']);
    const busy = new JudgedStream(0);
    for (let i = 0; i < 20; i += 1) busy.judge([`b${i}`, 'accepted']);
    await archive.write(quiet.batch());
    await archive.write(busy.batch());
    const archived = new Map([[1, `${T0 + 20}-0`]]);
    const { lookedAt } = await countRecentAgain(options(), NOTHING, archived);
    await archive.write(new JudgedStream(1, 21).judge(['e', 'accepted']).batch());
    const brief = { ...options(), rowsMax: 2, runMsMax: 0 };
    expect((await countRecentAgain(brief, lookedAt, archived)).again).to.equal(1);
  });

  it('are looked for by their ids in a day that has no statistics yet, however many events a customer has', async () => {
    await archive.write(new JudgedStream().judge(['e', 'accepted']).batch());
    const { lookedAt } = await countRecentAgain(options(), NOTHING);
    const columns = await test.query<{ column_name: string }>(
      `SELECT column_name FROM information_schema.columns WHERE table_schema = 'public' AND table_name = 'usage_events'`,
    );
    const names = columns.map(({ column_name }) => column_name);
    const others = names.map((name) =>
      name === 'event_id' ? `'e' || g` : name === 'entry_seq' ? 'g' : name,
    );
    await test.query(
      `INSERT INTO usage_events (${names}) SELECT ${others} FROM usage_events, generate_series(1, 40000) AS g`,
    );
    await archive.write(new JudgedStream(0, 1).judge(['e', 'accepted']).batch());
    const statementMsMax = patient(2000);
    expect((await countRecentAgain({ ...options(), statementMsMax }, lookedAt)).again).to.equal(1);
  });

  it('are the same as an oracle finds, however they are archived, paged and looked at', async () => {
    const eventArbitrary = fc.record({
      partition: fc.nat(1),
      id: fc.constantFrom('a', 'b', 'c', 'd'),
      source: fc.constantFrom(undefined, '/s', '/t'),
      judgement: fc.constantFrom<Judgement>('accepted', 'accepted', 'late', 'duplicate', 'dead'),
      isLooked: fc.boolean(),
    });
    await fc.assert(
      fc.asyncProperty(
        fc.array(eventArbitrary, { minLength: 1, maxLength: 25 }),
        fc.integer({ min: 1, max: 9 }),
        // With 0 a run has time for one statement: the next one goes on there.
        fc.constantFrom(0, 20_000),
        async (events, rowsMax, runMsMax) => {
          await test.query('TRUNCATE usage_events, sink_positions');
          const streams = [new JudgedStream(0), new JudgedStream(1)];
          const counted = new Map<string, number>();
          const written = [0, 0];
          let lookedAt: LookedAt = NOTHING;
          let again = 0;
          const look = async (): Promise<void> => {
            for (const [i, stream] of streams.entries()) {
              if (stream.length > written[i]!) await archive.write(stream.batch(written[i]!));
              written[i] = stream.length;
            }
            const run = await countRecentAgain({ ...options(), rowsMax, runMsMax }, lookedAt);
            again += run.again;
            ({ lookedAt } = run);
          };
          for (const { partition, id, source, judgement, isLooked } of events) {
            const customer = `c${partition}`;
            const more = source === undefined ? { customer } : { customer, source };
            streams[partition]!.judge([id, judgement, more]);
            const key = `${customer} ${source} ${id}`;
            if (judgement === 'accepted' || judgement === 'late')
              counted.set(key, (counted.get(key) ?? 0) + 1);
            if (isLooked) await look();
          }
          // A run gets on by one row at least.
          for (let i = 0; i <= events.length; i += 1) await look();
          const twice = [...counted.values()].filter((times) => times > 1);
          const expected = { ids: twice.length, again: twice.reduce((sum, times) => sum + times - 1, 0) };
          expect(again).to.equal(expected.again);
          const { ids, again: all } = await findCountedAgain(options(), 0, rowsMax);
          expect({ ids, again: all }).to.deep.equal(expected);
        },
      ),
      { numRuns: 15 },
    );
  });
});
