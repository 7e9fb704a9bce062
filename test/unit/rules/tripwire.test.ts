import { expect } from 'chai';
import fc from 'fast-check';
import {
  affected,
  clearWindow,
  NEW_WIRE,
  rearm,
  reserve,
  share,
  sharePpm,
  tripwireLimits,
  type Wire,
} from '../../../rules/tripwire.js';
import type { TripwireLimits } from '../../../shared/messages/commands.js';

const limits: TripwireLimits = { max_share: 0.05, max_users: null, min_population: 20, window_seconds: 300 };
const users = (count: number, prefix = 'u') => Array.from({ length: count }, (_, n) => `${prefix}${n}`);

function ask(
  wire: Wire,
  asked: readonly string[],
  population: number,
  now = 0,
  era = wire.era,
  changes = {},
) {
  return reserve(wire, {
    era,
    users: asked,
    population,
    limits: { ...limits, ...changes },
    now,
    decidedAt: now,
  });
}

const grantedOf = (granted: readonly boolean[]) => granted.filter(Boolean).length;

describe('the tripwire', () => {
  it('trips where every partition sees only its own first users: whoever is reserved is known', () => {
    let wire: Wire = NEW_WIRE;
    let granted = 0;
    for (let partition = 0; partition < 8; partition += 1) {
      const answer = ask(wire, users(12, `p${partition}-`), 12);
      granted += grantedOf(answer.granted);
      wire = answer.wire;
    }
    expect(granted).to.equal(19);
    expect(wire.tripped).to.deep.equal({ at: 0, affected: 19, population: 20 });
  });

  it('grants up to the share of the known users, trips when it is reached, and denies the next', () => {
    const answer = ask(NEW_WIRE, users(7), 100, 9);
    expect(answer.granted).to.deep.equal([true, true, true, true, true, false, false]);
    expect(answer.trips).to.equal(true);
    expect(answer.wire.tripped).to.deep.equal({ at: 9, affected: 5, population: 100 });
  });

  it('trips already when the limit is reached, before anybody is denied', () => {
    expect(ask(NEW_WIRE, users(4), 100).trips).to.equal(false);
    expect(ask(NEW_WIRE, users(5), 100).trips).to.equal(true);
  });

  it('never grants more than the limit where the share is no whole number of users', () => {
    const answer = ask(NEW_WIRE, users(3), 39);
    expect(answer.granted).to.deep.equal([true, false, false]);
    expect(answer.wire.tripped).to.deep.equal({ at: 0, affected: 1, population: 39 });
  });

  it('never trips below the minimum of known users, and counts from there what it granted', () => {
    const small = ask(NEW_WIRE, users(19), 19);
    expect([grantedOf(small.granted), small.trips]).to.deep.equal([19, false]);
    const grown = ask(small.wire, ['one more'], 20);
    expect([grown.granted, grown.trips]).to.deep.equal([[false], true]);
    expect(grown.wire.tripped?.affected).to.equal(19);
  });

  it('keeps to an absolute number of users too', () => {
    const answer = ask(NEW_WIRE, users(5), 1_000_000, 0, '', { max_users: 3 });
    expect(answer.granted).to.deep.equal([true, true, true, false, false]);
  });

  it('compares shares without rounding error', () => {
    // 0.07 * 100 is 7.000000000000001 in floating point, 0.29 * 100 is 28.999999999999996.
    for (const [max_share, limit] of [
      [0.07, 7],
      [0.29, 29],
      [0.58, 58],
    ] as const) {
      const answer = ask(NEW_WIRE, users(limit + 1), 100, 0, '', { max_share });
      expect([grantedOf(answer.granted), answer.trips]).to.deep.equal([limit, true]);
    }
    expect([sharePpm(0.05), sharePpm(1), sharePpm(1e-9)]).to.deep.equal([50_000, 1_000_000, 1]);
  });

  it('grants a user that is reserved already, tripped or not, and counts it once', () => {
    const first = ask(NEW_WIRE, users(5), 100);
    const again = ask(first.wire, ['u0', 'u4', 'stranger'], 100);
    expect(again.granted).to.deep.equal([true, true, false]);
    expect([again.trips, again.affected]).to.deep.equal([false, 5]);
  });

  it('forgets who was reserved a window ago, but not while it is tripped', () => {
    const armed = ask(NEW_WIRE, users(4), 100, 0);
    expect(affected(armed.wire, limits, 299_999)).to.equal(4);
    expect(affected(armed.wire, limits, 300_000)).to.equal(0);
    expect(ask(armed.wire, ['v'], 100, 300_000).affected).to.equal(1);
    const tripped = ask(NEW_WIRE, users(5), 100, 0);
    expect(ask(tripped.wire, ['v'], 100, 10_000_000).granted).to.deep.equal([false]);
    expect(affected(tripped.wire, limits, 10_000_000)).to.equal(5);
  });

  it('works again after a re-arm, with an empty window; the same re-arm again does nothing', () => {
    const tripped = ask(NEW_WIRE, users(5), 100).wire;
    const rearmed = rearm(tripped, '5-0');
    expect(affected(rearmed, limits, 0)).to.equal(0);
    const used = ask(rearmed, users(2), 100);
    expect(used.granted).to.deep.equal([true, true]);
    expect(rearm(used.wire, '5-0')).to.equal(used.wire);
    expect(rearm(used.wire, '4-9')).to.equal(used.wire);
  });

  it('adopts the era of a partition that folded the re-arm first', () => {
    const tripped = ask(NEW_WIRE, users(5), 100).wire;
    const answer = ask(tripped, ['v'], 100, 0, '5-0');
    expect([answer.granted, answer.wire.era, answer.affected]).to.deep.equal([[true], '5-0', 1]);
  });

  it('denies a partition that has not come to the re-arm yet, if the era before had tripped', () => {
    const afterTrip = rearm(ask(NEW_WIRE, users(5), 100).wire, '5-0');
    expect(ask(afterTrip, ['v'], 100, 0, '').granted).to.deep.equal([false]);
    const afterPeace = rearm(NEW_WIRE, '5-0');
    expect(ask(afterPeace, ['v'], 100, 0, '').granted).to.deep.equal([true]);
  });

  it('stays tripped when a rollback has cleared its window', () => {
    const tripped = ask(NEW_WIRE, users(5), 100, 7).wire;
    expect(clearWindow(tripped, 6).reserved.size).to.equal(5);
    const cleared = clearWindow(tripped, 7);
    expect(cleared.reserved.size).to.equal(0);
    expect(ask(cleared, ['u0'], 100).granted).to.deep.equal([false]);
    expect(affected(cleared, limits, 8)).to.equal(5);
  });

  it('knows how far decisions lagged behind it, since its window was last empty', () => {
    const late = reserve(NEW_WIRE, {
      era: '',
      users: ['a'],
      population: 100,
      limits,
      now: 50,
      decidedAt: 20,
    });
    expect(late.wire.lagMs).to.equal(30);
    const prompt = ask(late.wire, ['b'], 100, 60);
    expect(prompt.wire.lagMs).to.equal(30);
    expect(ask(prompt.wire, ['c'], 100, 400_000).wire.lagMs).to.equal(0);
  });

  it('grants the same users however the questions are cut into calls', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 0, max: 40 }), { maxLength: 60 }),
        fc.integer({ min: 0, max: 200 }),
        fc.integer({ min: 1, max: 7 }),
        (numbers, population, size) => {
          const asked = numbers.map((n) => `u${n}`);
          const whole = ask(NEW_WIRE, asked, population);
          const cut: boolean[] = [];
          let wire = NEW_WIRE;
          for (let from = 0; from < asked.length; from += size) {
            const answer = ask(wire, asked.slice(from, from + size), population);
            cut.push(...answer.granted);
            wire = answer.wire;
          }
          expect(cut).to.deep.equal(whole.granted);
          if (population >= limits.min_population) {
            expect(wire.reserved.size * 20).to.be.at.most(population);
          }
        },
      ),
    );
  });

  it('takes its limits from a control message before the rule, and from the rule before the defaults', () => {
    const set = { max_share: 0.5, max_users: 9, min_population: 1, window_seconds: 60 };
    expect(tripwireLimits(limits, undefined, undefined)).to.deep.equal(limits);
    expect(tripwireLimits(limits, { max_users: 7 }, undefined)).to.deep.equal({ ...limits, max_users: 7 });
    expect(tripwireLimits(limits, { max_users: 7 }, set)).to.deep.equal(set);
  });

  it('has a share of 0 where nobody is known', () => {
    expect([share(0, 0), share(3, 0), share(3, 4)]).to.deep.equal([0, 0, 0.75]);
  });
});
