import { expect } from 'chai';
import { quantile } from '../../../rules/latency-sketch.js';
import type { MeteringContext } from '../../../rules/windows/context.js';
import { NAME_BYTES_MAX } from '../../../rules/windows/totals.js';
import { foldArchived, foldUsage } from '../../../rules/windows.js';
import * as names from '../../../shared/keys.js';
import { OTHER } from '../../../shared/messages/usage.js';
import { encodeCounters, encodeWindow } from '../../../shared/state/metering-codec.js';
import type { CountersState, WindowState } from '../../../shared/state/metering-state.js';
import { type Counted, MeteringPartition, SETTINGS } from './metering-partition.js';
import { usage } from './usage-events.js';

/** A Friday, 12:00:00 UTC: a minute, an hour and two windows begin. */
const NOON = Date.UTC(2026, 10, 20, 12);
const HOUR = 3_600_000;
const WINDOW = names.windowDocument('acme', NOON, 'c1');
const COUNTERS = names.countersDocument('acme', 'c1');

const verdictOf = ({ verdict, revision }: Counted) => [verdict, revision];

/** `n` whole numbers that add up to `total`. */
function spread(total: number, n: number): number[] {
  return Array.from({ length: n }, (_, i) => Math.floor(((i + 1) * total) / n) - Math.floor((i * total) / n));
}

describe('windows', () => {
  it('add up the example of the contract, field by field', () => {
    const tokens = [...spread(150_000, 800), ...spread(30_000, 400), ...spread(54_567, 343)];
    const inputs = spread(78_901, 1543);
    const partition = new MeteringPartition();
    partition.run(
      tokens.map((amount, i) => ({
        kind: 'usage',
        at: NOON + i,
        event: usage({
          timestamp: NOON + i,
          endpoint: i < 1200 ? '/api/completion' : '/api/embedding',
          model: i < 800 ? 'gpt-4' : 'gpt-3.5-turbo',
          tokens: amount,
          inputTokens: inputs[i]!,
          outputTokens: amount - inputs[i]!,
          latencyMs: i === 0 ? 245 : i % 2 === 0 ? 244 : 246,
        }),
      })),
      100,
    );
    partition.idle(NOON + 40_000);
    const [emission] = partition.emissions();
    const { latency, asOf, ...figures } = emission!;
    expect(figures).to.deep.equal({
      tenant: 'acme',
      customer: 'c1',
      start: NOON,
      end: NOON + 30_000,
      status: 'closed',
      revision: 1,
      emission: 1,
      at: NOON + 40_000,
      calls: 1543,
      tokens: 234_567,
      inputTokens: 78_901,
      outputTokens: 155_666,
      latencyCount: 1543,
      latencySumUs: 1543 * 245_000,
      late: 0,
      endpoints: [
        ['/api/completion', 1200, 180_000],
        ['/api/embedding', 343, 54_567],
      ],
      models: [
        ['gpt-4', 800, 150_000],
        ['gpt-3.5-turbo', 743, 84_567],
      ],
    });
    expect(asOf).to.deep.equal([`${NOON + 1542}-1543`, 1543 % 7]);
    expect(latency.filter((_, i) => i % 2 === 1).reduce((a, b) => a + b)).to.equal(1543);
    expect(quantile(partition.window(WINDOW)!.latency, 0.99)).to.be.closeTo(246, 2.46);
  });

  it('close by the time of the partition, whatever time the events say', () => {
    const partition = new MeteringPartition();
    partition.count(NOON, usage({ timestamp: NOON }));
    partition.count(NOON, usage({ timestamp: NOON + HOUR }));
    expect(partition.window(WINDOW)!.status).to.equal('open');
    partition.idle(NOON + 39_999);
    expect(partition.window(WINDOW)!.status).to.equal('open');
    expect(verdictOf(partition.count(NOON + 39_999, usage({ timestamp: NOON + 29_999 })))).to.deep.equal([
      'accepted',
      1,
    ]);
    partition.idle(NOON + 40_000);
    expect(partition.window(WINDOW)!.status).to.equal('closed');
    expect(partition.window(WINDOW)!.calls).to.equal(2);
    expect(partition.emissions().map(({ start }) => start)).to.deep.equal([NOON]);
    expect(partition.counts('windows_closed')).to.equal(1);
    expect(partition.timers.get(WINDOW)).to.equal(NOON + 30_000 + SETTINGS.hotMs);
  });

  it('make one revision of a burst of late events, and another of the next', () => {
    const partition = new MeteringPartition();
    partition.count(NOON, usage({ timestamp: NOON, tokens: 1 }));
    partition.idle(NOON + 40_000);
    for (let i = 0; i < 1000; i += 1) {
      const counted = partition.count(NOON + 50_000 + i, usage({ timestamp: NOON + 1, tokens: 1 }));
      expect(verdictOf(counted)).to.deep.equal(['late', 2]);
    }
    expect(partition.emissions().length).to.equal(1);
    expect(partition.window(WINDOW)!.settling).to.equal(true);
    partition.idle(NOON + 52_000);
    expect(verdictOf(partition.count(NOON + 60_000, usage({ timestamp: NOON, tokens: 1 })))).to.deep.equal([
      'late',
      3,
    ]);
    partition.idle(NOON + 70_000);
    expect(
      partition.emissions().map(({ status, revision, emission, at, tokens, late }) => {
        return [status, revision, emission, at - NOON, tokens, late];
      }),
    ).to.deep.equal([
      ['closed', 1, 1, 40_000, 1, 0],
      ['revised', 2, 2, 52_000, 1001, 1000],
      ['revised', 3, 3, 62_000, 1002, 1001],
    ]);
    expect(partition.counts('late_events')).to.equal(1001);
    expect(partition.counts('windows_revised')).to.equal(2);
  });

  it('begin as revision 2 where the first event comes after they closed', () => {
    const partition = new MeteringPartition();
    expect(verdictOf(partition.count(NOON + 40_000, usage({ timestamp: NOON })))).to.deep.equal(['late', 2]);
    expect(partition.timers.get(WINDOW)).to.equal(NOON + 42_000);
    partition.idle(NOON + 42_000);
    const [emission] = partition.emissions();
    expect([emission!.status, emission!.revision, emission!.late, emission!.calls]).to.deep.equal([
      'revised',
      2,
      1,
      1,
    ]);
  });

  it('leave only when the archive has their last emission, and are cold then', () => {
    const partition = new MeteringPartition();
    partition.count(NOON, usage({ timestamp: NOON }));
    const leavesAt = NOON + 30_000 + SETTINGS.hotMs;
    const index = names.hotWindowsIndex('acme', 'c1');
    partition.idle(leavesAt);
    expect(partition.documentNames('window:')).to.deep.equal([WINDOW]);
    expect(partition.timers.get(WINDOW)).to.equal(leavesAt + 60_000);
    // A late event meanwhile puts it off, until its revision is archived too.
    expect(verdictOf(partition.count(leavesAt + 1, usage({ timestamp: NOON })))).to.deep.equal(['late', 2]);
    partition.run([{ kind: 'archive', at: leavesAt + 1, records: 1 }]);
    expect(partition.partition!.archived).to.equal(1);
    partition.idle(leavesAt + 10_000);
    expect(partition.documentNames('window:')).to.deep.equal([WINDOW]);
    expect([...partition.indexes.get(index)!]).to.deep.equal([String(NOON)]);
    partition.archiveAll().idle(leavesAt + 62_002);
    expect(partition.documentNames('window:')).to.deep.equal([]);
    expect([...partition.indexes.get(index)!]).to.deep.equal([]);
    expect(partition.partition!.coldUntil).to.equal(NOON + 30_000);
    expect(verdictOf(partition.count(leavesAt + 62_002, usage({ timestamp: NOON })))).to.deep.equal([
      'cold',
      0,
    ]);
    expect(partition.documentNames('window:')).to.deep.equal([]);
    expect(partition.counts('cold_events')).to.equal(1);
    partition.archiveAll();
    const archived = partition.archive.get(WINDOW)!;
    expect([archived.revision, archived.calls, archived.late]).to.deep.equal([3, 3, 2]);
  });

  it('stay cold when WINDOW_HOT_HOURS is raised, also those that were never here', () => {
    const partition = new MeteringPartition();
    const longAfter = NOON + 25 * HOUR;
    expect(partition.count(longAfter, usage({ timestamp: NOON })).verdict).to.equal('cold');
    expect(partition.partition!.coldUntil).to.equal(NOON + 30_000);
    partition.run([{ kind: 'settings', at: longAfter, settings: { ...SETTINGS, hotMs: 48 * HOUR } }]);
    expect(partition.count(longAfter, usage({ timestamp: NOON + 1 })).verdict).to.equal('cold');
    expect(partition.count(longAfter, usage({ timestamp: NOON - 1 })).verdict).to.equal('cold');
    expect(verdictOf(partition.count(longAfter, usage({ timestamp: NOON + 30_000 })))).to.deep.equal([
      'late',
      2,
    ]);
  });

  it('say since when this partition knows of events', () => {
    const partition = new MeteringPartition();
    partition.count(NOON + 5, usage({ timestamp: NOON }));
    partition.count(NOON + 6, usage({ timestamp: NOON, customer: 'c2' }));
    expect(partition.partition!.bornAt).to.equal(NOON + 5);
  });

  it('do nothing at the timer of a window or counters that are gone', () => {
    const partition = new MeteringPartition();
    partition.timers.set(WINDOW, NOON);
    partition.timers.set(COUNTERS, NOON);
    partition.idle(NOON);
    expect([partition.effects, partition.documentNames('')]).to.deep.equal([[], []]);
  });

  it('count names as they are: the empty one, __proto__ and constructor like any other', () => {
    const partition = new MeteringPartition();
    for (const name of ['__proto__', 'constructor', '', 'toString', '__proto__']) {
      partition.count(NOON, usage({ timestamp: NOON, endpoint: name, model: name, customer: name || 'c' }));
      partition.count(NOON, usage({ timestamp: NOON, endpoint: name, model: name, tokens: 1 }));
    }
    partition.idle(NOON + HOUR);
    const expected = [
      ['__proto__', 2, 2],
      ['constructor', 1, 1],
      ['', 1, 1],
      ['toString', 1, 1],
    ];
    const emission = partition.emissions().find(({ customer }) => customer === 'c1')!;
    expect([emission.endpoints, emission.models]).to.deep.equal([expected, expected]);
    expect(partition.window(names.windowDocument('acme', NOON, '__proto__'))!.calls).to.equal(2);
  });

  it('count under __other__ what comes when WINDOW_DIMENSIONS_MAX names are taken', () => {
    const partition = new MeteringPartition({ ...SETTINGS, dimensionsMax: 2 });
    for (const endpoint of ['a', OTHER, 'b', 'c', 'a', 'd']) {
      partition.count(NOON, usage({ timestamp: NOON, endpoint, model: null, tokens: 1 }));
    }
    partition.count(NOON, usage({ timestamp: NOON, endpoint: 'e', model: 'm', tokens: 1 }));
    expect([...partition.window(WINDOW)!.byEndpoint]).to.deep.equal([
      ['a', { calls: 2, tokens: 2 }],
      [OTHER, { calls: 4, tokens: 4 }],
      ['b', { calls: 1, tokens: 1 }],
    ]);
    expect([...partition.window(WINDOW)!.byModel]).to.deep.equal([['m', { calls: 1, tokens: 1 }]]);
    expect([...partition.counters(COUNTERS)!.days.values()][0]!.byEndpoint).to.deep.equal(
      partition.window(WINDOW)!.byEndpoint,
    );
    expect(partition.counts('other_dimension')).to.equal(3);
  });

  it('never outgrow what a commit takes, however long the names and however many the slots', () => {
    const partition = new MeteringPartition({ ...SETTINGS, dimensionsMax: 1000 });
    const inputs = Array.from({ length: 3000 }, (_, i) => ({
      kind: 'usage' as const,
      at: NOON,
      event: usage({
        timestamp: NOON + (i % 60) * 60_000,
        endpoint: `/${i}${'\u0001'.repeat(250)}`,
        model: `${'€'.repeat(100)}${i}`,
        latencyMs: i,
      }),
    }));
    // No step in between: reading such documents back thousands of times is not the point.
    partition.run(inputs);
    expect(Buffer.byteLength(partition.text(COUNTERS)!)).to.be.within(NAME_BYTES_MAX / 2, 1024 * 1024);
    expect(partition.counters(COUNTERS)!.nameBytes).to.be.at.most(NAME_BYTES_MAX + 1000 * 60);
    const other = [...partition.counters(COUNTERS)!.days.values()][0]!.byEndpoint.get(OTHER)!;
    expect(other.calls).to.be.greaterThan(0);
  });

  it('refuse an event whose sum would not be exact, and change nothing then', () => {
    const full = (): { window: WindowState; counters: CountersState } => {
      const partition = new MeteringPartition(SETTINGS, () => false);
      partition.count(NOON, usage({ timestamp: NOON }));
      return { window: partition.window(WINDOW)!, counters: partition.counters(COUNTERS)! };
    };
    const almost = Number.MAX_SAFE_INTEGER - 5;
    const cases: [string, (documents: ReturnType<typeof full>) => void][] = [
      ['tokens', ({ window }) => (window.tokens = almost)],
      ['tokens', ({ window }) => (window.inputTokens = almost)],
      ['tokens', ({ window }) => (window.outputTokens = almost)],
      ['latencies', ({ window }) => (window.latencySumUs = almost)],
      ['tokens', ({ counters }) => (counters.days.get(NOON - 12 * HOUR)!.tokens = almost)],
      ['tokens', ({ counters }) => (counters.hours.get(NOON)!.outputTokens = almost)],
      ['tokens', ({ counters }) => (counters.minutes.get(NOON)!.inputTokens = almost)],
    ];
    for (const [what, fill] of cases) {
      const documents = full();
      fill(documents);
      const step = {};
      documents.window.owner = step;
      documents.counters.owner = step;
      const before = [encodeWindow(documents.window), encodeCounters(documents.counters)];
      const context: MeteringContext = {
        tenant: 'acme',
        customer: 'c1',
        at: NOON,
        settings: SETTINGS,
        names,
        step,
      };
      const event = usage({ timestamp: NOON, inputTokens: 6 });
      const fold = () =>
        foldUsage(event, { entry: '9-9', index: 0 }, { ...documents, partition: null }, context);
      expect(fold).to.throw(`the sum of ${what} would no longer be exact`);
      expect([encodeWindow(documents.window), encodeCounters(documents.counters)]).to.deep.equal(before);
    }
  });
});

describe('hot counters', () => {
  const starts = (partition: MeteringPartition) => {
    const { minutes, hours, days } = partition.counters(COUNTERS)!;
    return [minutes, hours, days].map((slots) => [...slots.keys()].map((start) => (start - NOON) / 60_000));
  };

  it('count minutes, hours and days of the events own time, as long as each is kept', () => {
    const partition = new MeteringPartition();
    partition.count(NOON, usage({ timestamp: NOON, tokens: 1 }));
    partition.count(NOON, usage({ timestamp: NOON - 1, tokens: 2 }));
    partition.count(NOON, usage({ timestamp: NOON + 59_999, tokens: 3 }));
    expect(starts(partition)).to.deep.equal([[0, -1], [0, -60], [-720]]);
    const { minutes, hours, days } = partition.counters(COUNTERS)!;
    expect(minutes.get(NOON)!.tokens).to.equal(4);
    expect(hours.get(NOON - HOUR)!.tokens).to.equal(2);
    expect(days.get(NOON - 12 * HOUR)!.calls).to.equal(3);
    // A minute is kept for two more: at 12:02:00 sharp the one that ended at noon is there, then not.
    partition.count(NOON + 120_000, usage({ timestamp: NOON - 60_000 }));
    expect(starts(partition)[0]).to.deep.equal([0, -1]);
    expect(partition.counters(COUNTERS)!.minutes.get(NOON - 60_000)!.calls).to.equal(2);
    partition.count(NOON + 120_001, usage({ timestamp: NOON - 60_000 }));
    expect(starts(partition)).to.deep.equal([[0], [0, -60], [-720]]);
    expect(partition.counters(COUNTERS)!.hours.get(NOON - HOUR)!.calls).to.equal(3);
  });

  it('end 25 hours after the last day that had an event', () => {
    const partition = new MeteringPartition();
    partition.count(NOON, usage({ timestamp: NOON }));
    const midnight = NOON + 12 * HOUR;
    expect(partition.timers.get(COUNTERS)).to.equal(midnight + 25 * HOUR + 1);
    partition.count(midnight, usage({ timestamp: midnight }));
    partition.idle(midnight + 25 * HOUR + 1);
    expect(starts(partition)).to.deep.equal([[], [], [720]]);
    expect(partition.timers.get(COUNTERS)).to.equal(midnight + 49 * HOUR + 1);
    partition.idle(midnight + 49 * HOUR);
    expect(starts(partition)).to.deep.equal([[], [], [720]]);
    partition.idle(midnight + 49 * HOUR + 1);
    expect(partition.counters(COUNTERS)).to.equal(undefined);
    expect(partition.timers.has(COUNTERS)).to.equal(false);
  });

  it('do not begin with an event that is older than all of them', () => {
    const partition = new MeteringPartition();
    partition.count(NOON, usage({ timestamp: NOON - 48 * HOUR }));
    expect(partition.counters(COUNTERS)).to.equal(undefined);
  });
});

describe('foldArchived', () => {
  const state = { owner: undefined, bornAt: 1, coldUntil: 0, emissions: 7, archived: 3 };

  it('takes over what is newer, in a copy', () => {
    expect(foldArchived(state, { upTo: 5 }, { step: {} })!.archived).to.equal(5);
    expect(state.archived).to.equal(3);
    expect(foldArchived(state, { upTo: 3 }, { step: {} })).to.equal(state);
    expect(foldArchived(state, { upTo: 2 }, { step: {} })).to.equal(state);
    expect(foldArchived(null, { upTo: 0 }, { step: {} })).to.equal(null);
  });

  it('refuses what is no number, and what was never emitted', () => {
    for (const data of [null, {}, { upTo: '5' }, { upTo: 1.5 }]) {
      expect(() => foldArchived(state, data, { step: {} })).to.throw('upTo is not a whole number');
    }
    expect(() => foldArchived(state, { upTo: 8 }, { step: {} })).to.throw('confirms emission 8 of 7');
  });
});
