import { expect } from 'chai';
import type { OutboxEntry, Sink } from '../../../consumer/engine/outbox-drain.js';
import { AuditLogSink } from '../../../consumer/sinks/audit-log.js';
import { BudgetHistory } from '../../../consumer/sinks/budget-history.js';
import { BudgetLogSink } from '../../../consumer/sinks/budget-log.js';
import { RestrictionHistory } from '../../../consumer/sinks/restriction-history.js';
import type { PartitionKeys } from '../../../shared/keys.js';
import { createLogger } from '../../../shared/logging.js';
import { EngineFixture } from '../../support/engine-fixture.js';
import { until } from '../../support/redis-server.js';
import type { TestWorker } from '../../support/workers.js';
import { ArchiveUnderTest, T0 } from './archive-under-test.js';

type Written = readonly [type: string, body: object, version?: string];

const log = createLogger('test', 'silent');
const change: Written = ['restricted', { user: 'u', at: T0, message: 'm', rule: 'r' }];
const grant = (seq: number, kind = 'grant') => ({
  ...{ tenant: 't', epoch: T0, seq, at: T0, kind, window: T0, path: ['global'], held: 1, settled: 0 },
});
const ofVersion = ([type, body]: Written, version: string): Written => [type, body, version];
const ledger = (...entries: readonly object[]): Written => ['ledger', entries];

/** A worker of the next version: takes whatever there is. */
class NewerSink implements Sink {
  readonly types: string[] = [];
  readonly name: string;
  readonly topic: Sink['topic'];
  readonly delayed: boolean;

  constructor({ name, topic, delayed = false }: Sink) {
    this.name = name;
    this.topic = topic;
    this.delayed = delayed;
  }
  knows(): boolean {
    return true;
  }
  write(_partition: string, entries: readonly OutboxEntry[]): Promise<void> {
    this.types.push(...entries.map(({ type }) => type));
    return Promise.resolve();
  }
}

describe('an outbox entry that only a newer worker knows', () => {
  let postgres: ArchiveUnderTest;
  let fixture: EngineFixture;
  before(async () => {
    postgres = await ArchiveUnderTest.start();
  });
  after(() => postgres.close());
  beforeEach(() => {
    fixture = new EngineFixture();
  });
  afterEach(() => fixture.close());

  const add = async (keys: PartitionKeys, [type, body, version]: Written): Promise<string> => {
    const more = version === undefined ? [] : ['v', version];
    return (await fixture.redis.xadd(
      ...([keys.outbox, '*', 'type', type, 'body', JSON.stringify(body), ...more] as const),
    ))!;
  };

  /** The gauge of partition 0, and of all others together. */
  async function stopped({ opsUrl }: TestWorker, topic: string): Promise<readonly [number, number]> {
    const text = await (await fetch(`${opsUrl}/metrics`)).text();
    const lines = text.split('\n').filter((line) => line.startsWith('weir_sink_stopped{'));
    const values = lines.map((line) => [line.includes(`"${topic}.0"`), Number(line.split(' ')[1])] as const);
    const sum = (of: boolean) => values.reduce((total, [own, value]) => total + (own === of ? value : 0), 0);
    return [sum(true), sum(false)];
  }

  const rows = async (table: string): Promise<number> => {
    const [row] = await postgres.query<{ n: number }>(`SELECT count(*)::int AS n FROM ${table}`);
    return row!.n;
  };

  const sinks: readonly (readonly [
    what: string,
    known: Written,
    unknown: Written,
    make: () => Sink,
    table?: string,
  ])[] = [
    ['a type, in the log of restrictions', change, ['warned', {}], () => new AuditLogSink(log)],
    [
      'a version, in the log of restrictions',
      [...change],
      ofVersion(change, '2'),
      () => new AuditLogSink(log),
    ],
    ['a type, in the log of budgets', ledger(grant(1)), ['lent', {}], () => new BudgetLogSink(log)],
    [
      ...(['a kind of entry, in the log of budgets', ledger(grant(1)), ledger(grant(2, 'lend'))] as const),
      () => new BudgetLogSink(log),
    ],
    [
      ...(['a type, in the history of restrictions', change, ['warned', { user: 'u', at: T0 }]] as const),
      ...([() => new RestrictionHistory(postgres.sinkPool(), log), 'restriction_changes'] as const),
    ],
    [
      ...(['a type, in the history of budgets', ledger(grant(1)), ['lent', { tenant: 't' }]] as const),
      ...([() => new BudgetHistory(postgres.sinkPool(), log), 'budget_ledger'] as const),
    ],
    [
      ...([
        'a kind of entry, in the history of budgets',
        ledger(grant(11)),
        ledger(grant(12, 'lend')),
      ] as const),
      ...([() => new BudgetHistory(postgres.sinkPool(), log), 'budget_ledger'] as const),
    ],
    [
      ...([
        'a version, in the history of budgets',
        ledger(grant(21)),
        ofVersion(ledger(grant(22)), 'x'),
      ] as const),
      ...([() => new BudgetHistory(postgres.sinkPool(), log), 'budget_ledger'] as const),
    ],
  ];

  for (const [what, known, unknown, make, table] of sinks) {
    it(`holds the outbox up until one takes it: ${what}`, async () => {
      const sink = make();
      const { topic, name } = sink;
      const keys = fixture.topic.keys.partition({ topic, index: 0 });
      const before = table === undefined ? 0 : await rows(table);
      const first = await add(keys, known);
      const second = await add(keys, unknown);
      await add(keys, known);
      const errors: Record<string, unknown>[] = [];
      const old = await fixture.worker(
        // It keeps its partitions: an owner says it once.
        ...([{ ARCHIVE_DELAY_MS: '0', LEASE_TTL_MS: '20000' }, undefined, [sink], undefined] as const),
        (line) => errors.push(line),
      );
      await until(5000, 'it stops', async () => (await stopped(old, topic))[0] === 1);
      // It tries again meanwhile, and takes nothing more of it.
      const other = fixture.topic.keys.partition({ topic, index: 1 });
      const after = await add(other, known);
      await until(5000, 'others go on', async () => (await fixture.redis.hget(other.sinks, name)) === after);
      expect(await fixture.redis.hget(keys.sinks, name)).to.equal(first);
      expect(await stopped(old, topic)).to.deep.equal([1, 0]);
      const said = errors.filter(({ msg }) => String(msg).startsWith('sink stops'));
      expect(said.map(({ partition }) => partition)).to.deep.equal([`${topic}.0`]);
      // What another partition has again is there already.
      if (table !== undefined) expect(await rows(table)).to.equal(before + (topic === 'events' ? 2 : 1));
      await old.close();

      const newer = new NewerSink(sink);
      await fixture.worker({ ARCHIVE_DELAY_MS: '0' }, undefined, [newer]);
      // No worker of this build reads another version: it goes when somebody deletes it.
      const isVersion = unknown[2] !== undefined;
      if (isVersion) await fixture.redis.xdel(keys.outbox, second);
      const types = isVersion ? [known[0]] : [unknown[0], known[0]];
      await until(5000, 'it is carried on', () => newer.types.length === types.length);
      expect(newer.types).to.deep.equal(types);
    });
  }

  it('holds the archive up behind what it knows, also where a newer fold took in what it does not', async () => {
    const keys = fixture.topic.keys.partition({ topic: 'usage', index: 0 });
    const message = (id: string, type: string) =>
      JSON.stringify([
        ...[{ type, tenant: 't', subject: 'c', id, timestamp: T0, data: ['/e', 1, 0, 0, null, null] }],
      ]);
    const judged = async (id: string, type: string, from: string): Promise<string> => {
      const entry = await fixture.redis.xadd(keys.stream, '*', 'v', '1', 'n', '1', 'm', message(id, type));
      await add(keys, ['verdicts', { f: [from, '', 0], t: [entry!, '', 0], n: 1 }]);
      return entry!;
    };
    const first = await judged('a', 'usage', '0-0');
    await fixture.redis.hset(keys.head, { position: first, seq: 1, at: 1, seed: '0123456789abcdef' });
    const worker = await fixture.worker({ ARCHIVE_DELAY_MS: '0', DATABASE_URL: postgres.url });
    await until(10_000, 'the first is archived', async () => (await rows('usage_events')) === 1);
    const outbox = await fixture.redis.hget(keys.sinks, 'archive');
    const second = await judged('b', 'refund', first);
    await fixture.redis.hset(keys.head, { position: second });
    await until(10_000, 'it stops', async () => (await stopped(worker, 'usage'))[0] === 1);
    expect(await fixture.redis.hget(keys.sinks, 'archive')).to.equal(outbox);
    expect(await rows('usage_events')).to.equal(1);
  }).timeout(30_000);
});
