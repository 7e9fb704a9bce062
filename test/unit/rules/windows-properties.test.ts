import { expect } from 'chai';
import fc from 'fast-check';
import { quantile } from '../../../rules/latency-sketch.js';
import type { WindowSettings } from '../../../rules/windows/context.js';
import { correct } from '../../../rules/windows/correct.js';
import type { UsageEvent } from '../../../rules/windows/usage-event.js';
import { windowStart } from '../../../rules/windows/window-document.js';
import { countersDocument, hotWindowsIndex, windowDocument } from '../../../shared/keys.js';
import { OTHER } from '../../../shared/messages/usage.js';
import type { StoredWindow } from '../../../shared/messages/window-emission.js';
import { decodeSketch, encodeSketch } from '../../../shared/state/latency-sketch.js';
import {
  type Dimension,
  SLOT_MS,
  type Totals,
  type WindowState,
} from '../../../shared/state/metering-state.js';
import { type Counted, type MeteringInput, MeteringPartition, SETTINGS } from './metering-partition.js';
import { usage } from './usage-events.js';

const NOON = Date.UTC(2026, 10, 20, 12);
const HOUR = 3_600_000;
const DIMENSIONS_MAX = 3;
const settings: WindowSettings = { ...SETTINGS, dimensionsMax: DIMENSIONS_MAX };
const NAMES = ['/a', '/b', '__proto__', 'constructor', '', OTHER];

/** A step of time: often none, sometimes past a window or its lateness, rarely past all that is hot. */
const step = fc.oneof(
  { weight: 10, arbitrary: fc.integer({ min: 0, max: 3000 }) },
  { weight: 4, arbitrary: fc.integer({ min: 0, max: 60_000 }) },
  { weight: 1, arbitrary: fc.integer({ min: 0, max: 3 * HOUR }) },
  { weight: 1, arbitrary: fc.integer({ min: 23 * HOUR, max: 26 * HOUR }) },
);
/** How far an event's own time lies behind the partition's: on time, late, cold, and in the future. */
const behind = fc.oneof(
  { weight: 8, arbitrary: fc.integer({ min: 0, max: 5000 }) },
  { weight: 4, arbitrary: fc.integer({ min: 0, max: 120_000 }) },
  { weight: 2, arbitrary: fc.integer({ min: 23 * HOUR, max: 27 * HOUR }) },
  { weight: 1, arbitrary: fc.integer({ min: 0, max: 50 * HOUR }) },
  { weight: 1, arbitrary: fc.integer({ min: -HOUR, max: 0 }) },
);
const drawnUsage = fc.record({
  kind: fc.constant('usage' as const),
  step,
  behind,
  tenant: fc.constantFrom('acme', 'weyland'),
  customer: fc.constantFrom('c1', '__proto__'),
  endpoint: fc.constantFrom(...NAMES),
  model: fc.oneof(fc.constant(null), fc.constantFrom(...NAMES)),
  tokens: fc.integer({ min: 0, max: 1_000_000_000 }),
  inputTokens: fc.integer({ min: 0, max: 1_000_000_000 }),
  outputTokens: fc.integer({ min: 0, max: 1_000_000_000 }),
  latencyMs: fc.oneof(fc.constant(null), fc.integer({ min: 0, max: 86_400_000 })),
});
const drawnArchive = fc.record({
  kind: fc.constant('archive' as const),
  step,
  records: fc.oneof(fc.integer({ min: 0, max: 5 }), fc.constant(1000)),
});
const drawnSettings = fc.record({
  kind: fc.constant('settings' as const),
  step,
  hotHours: fc.constantFrom(0.001, 1, 24, 48),
  latenessMs: fc.constantFrom(0, 10_000, 90_000),
  revisionDelayMs: fc.constantFrom(0, 2000),
});
type Draw =
  | (typeof drawnUsage extends fc.Arbitrary<infer T> ? T : never)
  | (typeof drawnArchive extends fc.Arbitrary<infer T> ? T : never)
  | (typeof drawnSettings extends fc.Arbitrary<infer T> ? T : never);

const draws: fc.Arbitrary<Draw[]> = fc.array(
  fc.oneof(
    { weight: 14, arbitrary: drawnUsage },
    { weight: 2, arbitrary: drawnArchive },
    { weight: 1, arbitrary: drawnSettings },
  ),
  { minLength: 1, maxLength: 60 },
);
const history = draws.map(inputsOf);
const withoutRestarts = draws.map((drawn) => inputsOf(drawn.filter(({ kind }) => kind !== 'settings')));
const cuts = fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 20 });

function inputsOf(drawn: readonly Draw[]): MeteringInput[] {
  let at = NOON;
  return drawn.map((draw): MeteringInput => {
    at += draw.step;
    if (draw.kind === 'usage') {
      return { kind: 'usage', at, event: usage({ ...draw, timestamp: at - draw.behind }) };
    }
    if (draw.kind === 'archive') return { kind: 'archive', at, records: draw.records };
    const { latenessMs, revisionDelayMs, hotHours } = draw;
    const changed = { ...settings, latenessMs, revisionDelayMs, hotMs: hotHours * HOUR };
    return { kind: 'settings', at, settings: changed };
  });
}

/** Calls and tokens by name, the first DIMENSIONS_MAX names by themselves: written as naively as can be. */
function recountNames(events: readonly UsageEvent[], place: 0 | 4): [string, number, number][] {
  const named: [string, number, number][] = [];
  for (const { data } of events) {
    const name = data[place];
    if (name === null) continue;
    const own = named.filter(([known]) => known !== OTHER);
    const taken = own.length === DIMENSIONS_MAX && !own.some(([known]) => known === name);
    const key = taken ? OTHER : name;
    let entry = named.find(([known]) => known === key);
    if (entry === undefined) {
      entry = [key, 0, 0];
      named.push(entry);
    }
    entry[1] += 1;
    entry[2] += data[1];
  }
  return named;
}

function recount(events: readonly UsageEvent[]) {
  const sum = (place: 1 | 2 | 3) => events.reduce((total, { data }) => total + data[place], 0);
  return {
    calls: events.length,
    tokens: sum(1),
    inputTokens: sum(2),
    outputTokens: sum(3),
    endpoints: recountNames(events, 0),
    models: recountNames(events, 4),
  };
}

function recountWindow(events: readonly UsageEvent[]) {
  const latencies = events.flatMap(({ data }) => data[5] ?? []);
  return {
    ...recount(events),
    latencyCount: latencies.length,
    latencySumUs: latencies.reduce((total, us) => total + us, 0),
  };
}

const named = (dimension: Dimension) =>
  [...dimension].map(([name, { calls, tokens }]) => [name, calls, tokens]);

const ofTotals = ({ calls, tokens, inputTokens, outputTokens, byEndpoint, byModel }: Totals) => ({
  calls,
  tokens,
  inputTokens,
  outputTokens,
  endpoints: named(byEndpoint),
  models: named(byModel),
});

const ofHot = (window: WindowState) => ({
  ...ofTotals(window),
  latencyCount: window.latencyCount,
  latencySumUs: window.latencySumUs,
});

const ofStored = ({
  calls,
  tokens,
  inputTokens,
  outputTokens,
  endpoints,
  models,
  latencyCount,
  latencySumUs,
}: StoredWindow) => ({
  calls,
  tokens,
  inputTokens,
  outputTokens,
  endpoints,
  models,
  latencyCount,
  latencySumUs,
});

const windowOf = ({ tenant, subject, timestamp }: UsageEvent) =>
  windowDocument(tenant, windowStart(timestamp, settings.windowMs), subject);

function byWindow(counted: readonly Counted[]): Map<string, Counted[]> {
  const windows = new Map<string, Counted[]>();
  for (const one of counted) {
    const name = windowOf(one.event);
    windows.set(name, [...(windows.get(name) ?? []), one]);
  }
  return windows;
}

function sketchAgrees(stored: StoredWindow, events: readonly UsageEvent[]): void {
  const exact = events.flatMap(({ data }) => data[5] ?? []).sort((a, b) => a - b);
  const sketch = decodeSketch(stored.latency);
  expect([...sketch.values()].reduce((a, b) => a + b, 0)).to.equal(exact.length);
  for (const q of exact.length === 0 ? [] : [0, 0.5, 0.95, 0.99, 1]) {
    const us = exact[Math.floor(q * (exact.length - 1))]!;
    expect(Math.abs(quantile(sketch, q)! * 1000 - us)).to.be.at.most(us * (0.01 + 1e-9));
  }
}

describe('windows, whatever comes in whatever order', () => {
  it('equal a recount: the hot ones at every moment, all of them in the archive in the end', () => {
    fc.assert(
      fc.property(history, cuts, (inputs, sizes) => {
        const partition = new MeteringPartition(settings).run(inputs, ...sizes);
        const windows = byWindow(partition.counted);
        for (const name of partition.documentNames('window:')) {
          const events = windows.get(name)!.map(({ event }) => event);
          expect(ofHot(partition.window(name)!), name).to.deep.equal(recountWindow(events));
        }
        partition
          .idle(partition.now + 3 * HOUR)
          .archiveAll()
          .idle(partition.now + 60 * HOUR);
        expect([...partition.archive.keys()].sort()).to.deep.equal([...windows.keys()].sort());
        for (const [name, stored] of partition.archive) {
          const events = windows.get(name)!.map(({ event }) => event);
          expect(ofStored(stored), name).to.deep.equal(recountWindow(events));
          expect(stored.late).to.equal(
            windows.get(name)!.filter(({ verdict }) => verdict !== 'accepted').length,
          );
          sketchAgrees(stored, events);
        }
        expect(partition.documentNames('window:'), 'all have left').to.deep.equal([]);
        expect([...partition.indexes.values()].flatMap((members) => [...members])).to.deep.equal([]);
        expect([...partition.timers.keys()].filter((id) => id.startsWith('window:'))).to.deep.equal([]);
      }),
      { numRuns: 300 },
    );
  });

  it('become the same however the history is cut into steps, and whoever reads the documents back', () => {
    fc.assert(
      fc.property(withoutRestarts, cuts, (drawn, sizes) => {
        // What the archive may take depends on what is committed.
        const inputs = drawn.filter(({ kind }) => kind === 'usage');
        const snapshot = (partition: MeteringPartition) => [
          partition.counted,
          partition.effects,
          partition.documentNames('').map((name) => [name, partition.text(name)]),
          [...partition.timers],
        ];
        const whole = new MeteringPartition(settings, () => false).run(inputs);
        const cut = new MeteringPartition(settings, () => false).run(inputs, ...sizes);
        const readBack = new MeteringPartition(settings, () => true).run(inputs, ...sizes);
        expect(snapshot(cut)).to.deep.equal(snapshot(whole));
        expect(snapshot(readBack)).to.deep.equal(snapshot(whole));
      }),
    );
  });

  it('are emitted with a growing as-of and revision, each revision once', () => {
    fc.assert(
      fc.property(history, cuts, (inputs, sizes) => {
        const partition = new MeteringPartition(settings).run(inputs, ...sizes);
        // Events may lie an hour in the future.
        partition.idle(partition.now + 2 * HOUR);
        const last = new Map<string, [revision: number, entry: number]>();
        for (const [i, { start, tenant, customer, revision, asOf, emission }] of partition
          .emissions()
          .entries()) {
          expect(emission).to.equal(i + 1);
          const name = windowDocument(tenant, start, customer);
          const entry = Number(asOf[0].split('-')[1]);
          const before = last.get(name);
          if (before === undefined) expect(revision).to.be.within(1, 2);
          else {
            expect(revision).to.equal(before[0] + 1);
            expect(entry).to.be.greaterThan(before[1]);
          }
          last.set(name, [revision, entry]);
        }
        // A late event is told the revision that counts it.
        for (const { event, verdict, revision } of partition.counted) {
          if (verdict === 'late') expect(revision).to.be.within(2, last.get(windowOf(event))![0]);
          if (verdict === 'accepted') expect(revision).to.equal(1);
        }
        expect(partition.counts('windows_closed') + partition.counts('windows_revised')).to.equal(
          partition.emissions().length,
        );
        const late = partition.counted.filter(({ verdict }) => verdict === 'late').length;
        expect(partition.counts('late_events')).to.equal(late);
      }),
    );
  });

  it('make at most one revision per revision delay of however many late events', () => {
    const burst = fc.array(fc.integer({ min: 0, max: 1999 }), { minLength: 1, maxLength: 50 });
    fc.assert(
      fc.property(fc.array(burst, { minLength: 1, maxLength: 4 }), cuts, (bursts, sizes) => {
        const inputs: MeteringInput[] = [{ kind: 'usage', at: NOON, event: usage({ timestamp: NOON }) }];
        for (const [i, times] of bursts.entries()) {
          for (const time of times.toSorted((a, b) => a - b)) {
            const at = NOON + 60_000 + i * 10_000 + time - Math.min(...times);
            inputs.push({ kind: 'usage', at, event: usage({ timestamp: NOON }) });
          }
        }
        const partition = new MeteringPartition(settings).run(inputs, ...sizes).idle(NOON + HOUR);
        expect(partition.emissions().map(({ revision }) => revision)).to.deep.equal(
          Array.from({ length: bursts.length + 1 }, (_, i) => i + 1),
        );
      }),
    );
  });

  it('once cold stay cold, also when WINDOW_HOT_HOURS changes; they leave archived and never return', () => {
    fc.assert(
      fc.property(history, cuts, (inputs, sizes) => {
        const partition = new MeteringPartition(settings).run(inputs, ...sizes);
        const cold = new Set<string>();
        for (const { event, verdict } of partition.counted) {
          const name = windowOf(event);
          if (verdict === 'cold') cold.add(name);
          else expect(cold.has(name), `${name} counts again`).to.equal(false);
        }
        const gone = new Set<string>();
        for (const effect of partition.effects) {
          if (effect.kind === 'unindex') gone.add(`${effect.index} ${effect.member}`);
          if (effect.kind === 'index') expect(gone.has(`${effect.index} ${effect.member}`)).to.equal(false);
        }
        // What is indexed is what is there.
        const indexed = [...partition.indexes].flatMap(([index, members]) =>
          [...members].map((member) => `${index} ${member}`),
        );
        const documents = partition.documentNames('window:').map((name) => {
          const [, tenant, start, customer] = name.split(':');
          return `${hotWindowsIndex(tenant!, customer!)} ${start}`;
        });
        expect(indexed.sort()).to.deep.equal(documents.sort());
      }),
    );
  });

  it('are corrected in the archive as they would have been counted here', () => {
    fc.assert(
      fc.property(fc.array(drawnUsage, { minLength: 1, maxLength: 30 }), fc.nat(), (drawn, where) => {
        const events = drawn.map((draw, index) => ({
          event: usage({
            ...draw,
            tenant: 'acme',
            customer: 'c',
            timestamp: NOON + (draw.tokens % 30_000),
          }),
          place: { entry: '1-0', index },
        }));
        const cut = where % events.length;
        const first = cut === 0 ? null : correct(null, events.slice(0, cut), settings);
        const second = correct(first, events.slice(cut), settings);
        const atOnce = correct(null, events, settings);
        expect({ ...second, revision: 2 }).to.deep.equal(atOnce);
        expect(ofStored(atOnce)).to.deep.equal(recountWindow(events.map(({ event }) => event)));
        expect(encodeSketch(decodeSketch(atOnce.latency))).to.deep.equal(atOnce.latency);
      }),
    );
  });
});

describe('hot counters, whatever comes in whatever order', () => {
  const kept = { minutes: 3 * 60_000, hours: 3 * HOUR, days: 49 * HOUR };

  it('equal a recount in every slot that is kept, and have no other', () => {
    fc.assert(
      fc.property(history, cuts, (inputs, sizes) => {
        const partition = new MeteringPartition(settings).run(inputs, ...sizes);
        const customers = new Map<string, Counted[]>();
        for (const one of partition.counted) {
          const name = countersDocument(one.event.tenant, one.event.subject);
          customers.set(name, [...(customers.get(name) ?? []), one]);
        }
        for (const [name, counted] of customers) {
          const counters = partition.counters(name);
          for (const kind of ['minutes', 'hours', 'days'] as const) {
            const slots = new Map<number, UsageEvent[]>();
            for (const { event, at } of counted) {
              const start = event.timestamp - (event.timestamp % SLOT_MS[kind]);
              if (start + kept[kind] < at) continue;
              slots.set(start, [...(slots.get(start) ?? []), event]);
            }
            for (const start of counters?.[kind].keys() ?? []) expect(slots.has(start)).to.equal(true);
            for (const [start, events] of slots) {
              const slot = counters?.[kind].get(start);
              // Gone since it was last touched, or to be gone when it is touched next.
              if (slot === undefined) expect(start + kept[kind]).to.be.lessThan(partition.now);
              else expect(ofTotals(slot)).to.deep.equal(recount(events));
            }
          }
        }
        partition
          .idle(partition.now + 2 * HOUR)
          .archiveAll()
          .idle(partition.now + 100 * HOUR);
        expect(partition.documentNames('counters:')).to.deep.equal([]);
      }),
      { numRuns: 300 },
    );
  });
});
