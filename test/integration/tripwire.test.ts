import { expect } from 'chai';
import fc from 'fast-check';
import { Redis } from 'ioredis';
import { askTripwires } from '../../consumer/tripwire/ask-tripwires.js';
import { Tripwire } from '../../consumer/tripwire/tripwire.js';
import { compileCatalog } from '../../rules/restrictions/compile-catalog.js';
import { type RuleReservation, reservationKey } from '../../rules/restrictions/draft.js';
import { memberOf } from '../../rules/restrictions/subject.js';
import { affected, clearWindow, NEW_WIRE, rearm, reserve, type Wire } from '../../rules/tripwire.js';
import { Keys, PARTITION_DOCUMENT } from '../../shared/keys.js';
import { createLogger } from '../../shared/logging.js';
import type { TripwireLimits } from '../../shared/messages/commands.js';
import { NEW_PARTITION } from '../../shared/state/partition-state.js';
import { encodePartition } from '../../shared/state/state-codec.js';
import { partitionOf } from '../../shared/topics.js';
import { clearTripwireWindow } from '../../shared/tripwire/tripwire-clear-window.js';
import { rearmTripwire } from '../../shared/tripwire/tripwire-rearm.js';
import { tripwireStatus } from '../../shared/tripwire/tripwire-status.js';
import { testNamespace, testRedis } from '../support/hooks.js';
import { runawayRule } from '../unit/rules/test-rules.js';

const PARTITIONS = 4;
const RULE = 'runaway_rule';
const LIMITS: TripwireLimits = { max_share: 0.05, max_users: null, min_population: 20, window_seconds: 300 };
const users = (count: number) => Array.from({ length: count }, (_, n) => `default:u${n}`);

describe('the tripwire in Redis', () => {
  let redis: Redis;
  let keys: Keys;
  let tripwire: Tripwire;

  before(() => {
    redis = new Redis(testRedis().url);
  });
  after(() => redis.disconnect());
  beforeEach(() => {
    keys = new Keys(testNamespace());
    tripwire = new Tripwire(redis, keys, PARTITIONS);
  });

  const ask = (asked: readonly string[], population: number, era = '') =>
    tripwire.reserve({ rule: RULE, era, users: asked, population, limits: LIMITS, decidedAt: 0 });
  const status = () => tripwireStatus(redis, keys, RULE, LIMITS.window_seconds);

  it('decides as the model does, whatever it is asked and told', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(operation, { minLength: 1, maxLength: 25 }), async (operations) => {
        const fresh = new Keys(testNamespace());
        let wire = NEW_WIRE;
        const times = [0];
        for (const operate of operations) wire = await operate({ redis, keys: fresh, wire, times });
      }),
      { numRuns: 300 },
    );
  });

  it('is exact when many connections ask at once: never more than the limit', async () => {
    const connections = Array.from({ length: 6 }, () => new Redis(testRedis().url));
    try {
      const answers = await Promise.all(
        users(300).map((user, n) =>
          new Tripwire(connections[n % 6]!, keys, PARTITIONS).reserve({
            rule: RULE,
            era: '',
            users: [user],
            population: 1000,
            limits: LIMITS,
            decidedAt: 0,
          }),
        ),
      );
      expect(answers.filter(({ granted }) => granted[0] === true).length).to.equal(50);
      expect(answers.filter(({ trips }) => trips).length).to.equal(1);
    } finally {
      for (const connection of connections) connection.disconnect();
    }
  });

  it('answers thousands of users in bounded calls, in order', async () => {
    const { granted, affected, trips } = await ask(users(3000), 25_000);
    expect(granted).to.deep.equal(users(3000).map((_, n) => n < 1250));
    expect([affected, trips]).to.deep.equal([1250, true]);
  });

  it('shows how it stands: armed, tripped with the figures of the trip, armed again after a re-arm', async () => {
    expect(await status()).to.deep.include({ state: 'armed', affected: 0, trippedAt: null, era: '' });
    await ask(users(4), 100);
    expect(await status()).to.deep.include({ state: 'armed', affected: 4, populationAtTrip: null });
    const { now } = await ask(['default:last'], 100);
    await ask(['default:denied'], 120);
    expect(await status()).to.deep.include({
      state: 'tripped',
      affected: 5,
      populationAtTrip: 100,
      trippedAt: now,
    });
    expect(await rearmTripwire(redis, keys, RULE, '7-0')).to.equal(true);
    expect(await rearmTripwire(redis, keys, RULE, '7-0')).to.equal(false);
    expect(await status()).to.deep.include({ state: 'armed', affected: 0, trippedAt: null, era: '7-0' });
    expect((await ask(['default:denied'], 120)).granted).to.deep.equal([false]);
    expect((await ask(['default:denied'], 120, '7-0')).granted).to.deep.equal([true]);
  });

  it('stays tripped after a rollback has cleared its window', async () => {
    const { now } = await ask(users(5), 100);
    expect(await clearTripwireWindow(redis, keys, RULE, now)).to.equal(5);
    expect((await ask(users(1), 100)).granted).to.deep.equal([false]);
    expect(await status()).to.deep.include({ state: 'tripped', affected: 5 });
  });

  it('tells since when a rollback has to lift: the window, less the lag of the decisions in it', async () => {
    const request = { rule: RULE, era: '', users: users(1), population: 100, limits: LIMITS };
    const first = await tripwire.reserve({ ...request, decidedAt: 1000 });
    const { now, rollbackSince } = await status();
    expect(rollbackSince).to.equal(now - 300_000 - (first.now - 1000));
  });

  it('no longer counts a user that was reserved exactly a window ago', async () => {
    const { now: begin } = await status();
    const scores = Array.from({ length: 1000 }, (_, n) => begin - 10_000 + n);
    await redis.zadd(keys.tripwire(RULE).reserved, ...scores.flatMap((score) => [score, `default:${score}`]));
    const { now, affected } = await tripwireStatus(redis, keys, RULE, 10);
    expect(scores).to.include(now - 10_000);
    expect(affected).to.equal(scores.filter((score) => now - score < 10_000).length);
  });

  it('survives SCRIPT FLUSH', async () => {
    await ask(users(1), 100);
    await redis.script('FLUSH');
    expect((await ask(users(2), 100)).granted).to.deep.equal([true, true]);
    await redis.script('FLUSH');
    expect(await status()).to.deep.include({ affected: 2 });
  });

  it('answers a batch per rule, with the users of all partitions as population', async () => {
    const subjects = users(12).map((_, n) => ({ tenant: 'default', userId: `u${n}` }));
    const own = partitionOf('default', 'u0', PARTITIONS);
    for (let index = 0; index < PARTITIONS; index++) {
      // The own partition's committed count is out of date; what the batch has seen counts instead.
      const document = encodePartition({ ...NEW_PARTITION, users: index === own ? 30 : 20 });
      await redis.set(keys.partition({ topic: 'events', index }).doc(PARTITION_DOCUMENT), document);
    }
    const reservations: RuleReservation[] = subjects.flatMap((subject) =>
      [RULE, 'other_rule'].map((rule) => ({
        key: reservationKey(rule, subject),
        rule,
        subject: memberOf(subject),
        at: 5,
      })),
    );
    const trips: string[] = [];
    const catalog = compileCatalog([
      runawayRule(),
      runawayRule({ name: 'other_rule', tripwire: { max_users: 1 } }),
    ]);
    const partition = {
      ...NEW_PARTITION,
      users: 40,
      rules: { [RULE]: { limits: { ...LIMITS, max_share: 0.1 }, limitsControl: '1-0' } },
    };
    const answers = await askTripwires(reservations, partition, catalog, {
      limits: LIMITS,
      tripwire,
      log: createLogger('test', 'silent'),
      onTrip: (rule) => trips.push(rule),
    });
    const grantedBy = (rule: string) =>
      subjects
        .filter((subject) => answers.get(reservationKey(rule, subject)) === true)
        .map(({ userId }) => userId);
    // 40 + 3 * 20 known users, a tenth of them.
    expect(grantedBy(RULE)).to.deep.equal(users(10).map((_, n) => `u${n}`));
    expect(grantedBy('other_rule')).to.deep.equal(['u0']);
    expect(answers.size).to.equal(24);
    expect(trips).to.deep.equal([RULE, 'other_rule']);
  });
});

interface Trial {
  readonly redis: Redis;
  readonly keys: Keys;
  readonly wire: Wire;
  /** Redis times reported so far: the model has no clock of its own. */
  readonly times: number[];
}

/** Does one thing to Redis and to the model, compares what they say, and returns the model's wire. */
type Operation = (trial: Trial) => Promise<Wire>;

const limitsDrawn: fc.Arbitrary<TripwireLimits> = fc.record({
  max_share: fc.constantFrom(0.05, 0.07, 0.29, 0.5, 1),
  max_users: fc.option(fc.integer({ min: 1, max: 6 })),
  min_population: fc.constantFrom(0, 5, 20),
  // A window of a few milliseconds passes by itself while the sequence runs.
  window_seconds: fc.constantFrom(0.002, 0.005, 300),
});
const eraDrawn = fc.integer({ min: 0, max: 4 }).map((n) => (n === 0 ? '' : `${n}-${n % 2}`));

const reserving = fc
  .record({
    era: eraDrawn,
    users: fc.array(
      fc.integer({ min: 0, max: 12 }).map((n) => `default:u${n}`),
      { maxLength: 8 },
    ),
    population: fc.integer({ min: 0, max: 40 }),
    limits: limitsDrawn,
    lagMs: fc.integer({ min: 0, max: 50 }),
  })
  .map(
    ({ lagMs, ...request }): Operation =>
      async ({ redis, keys, wire, times }) => {
        const decidedAt = times.at(-1)! - lagMs;
        const tripwire = new Tripwire(redis, keys, PARTITIONS);
        const answer = await tripwire.reserve({ ...request, rule: RULE, decidedAt });
        if (request.users.length === 0) return wire;
        times.push(answer.now);
        const { wire: next, ...expected } = reserve(wire, { ...request, now: answer.now, decidedAt });
        expect(answer).to.deep.equal({ ...expected, now: answer.now });
        return next;
      },
  );

const rearming = eraDrawn.map(
  (era): Operation =>
    async ({ redis, keys, wire }) => {
      const next = rearm(wire, era);
      expect(await rearmTripwire(redis, keys, RULE, era)).to.equal(next !== wire);
      return next;
    },
);

const clearing = fc.nat().map(
  (n): Operation =>
    async ({ redis, keys, wire, times }) => {
      const until = times[n % times.length]!;
      const next = clearWindow(wire, until);
      const forgotten = await clearTripwireWindow(redis, keys, RULE, until);
      expect(forgotten).to.equal(wire.reserved.size - next.reserved.size);
      return next;
    },
);

const looking = limitsDrawn.map(
  (limits): Operation =>
    async ({ redis, keys, wire }) => {
      const { now, ...status } = await tripwireStatus(redis, keys, RULE, limits.window_seconds);
      const since = (wire.tripped?.at ?? now) - limits.window_seconds * 1000;
      expect(status).to.deep.equal({
        state: wire.tripped === null ? 'armed' : 'tripped',
        affected: affected(wire, limits, now),
        populationAtTrip: wire.tripped?.population ?? null,
        trippedAt: wire.tripped?.at ?? null,
        era: wire.era,
        rollbackSince: since - wire.lagMs,
      });
      return wire;
    },
);

const operation: fc.Arbitrary<Operation> = fc.oneof(
  { weight: 6, arbitrary: reserving },
  { weight: 1, arbitrary: rearming },
  { weight: 1, arbitrary: clearing },
  { weight: 2, arbitrary: looking },
);
