import { expect } from 'chai';
import fc from 'fast-check';
import type { Rule } from '../../../rules/restrictions/rule.js';
import type { Effect } from '../../../shared/effects.js';
import { PARTITION_DOCUMENT } from '../../../shared/keys.js';
import { FEATURES, MODES } from '../../../shared/messages/events.js';
import type { PartitionState } from '../../../shared/state/partition-state.js';
import type { UserState } from '../../../shared/state/user-state.js';
import { BAD_MATCHES, BAD_RESETS, badRule } from './bad-rules.js';
import { CATALOG, deniesSome, history } from './histories.js';
import { SimulatedPartition } from './simulated-partition.js';

const BAD = 'bad_rule';

/** Now and then it does what it should, so that there is something to lift; else what it should not. */
const failing: fc.Arbitrary<Rule> = fc
  .record({
    matches: fc.constantFrom(...Object.values(BAD_MATCHES)),
    reset: fc.constantFrom(...Object.values(BAD_RESETS)),
    mode: fc.constantFrom(...MODES),
    feature: fc.constantFrom(...FEATURES),
    every: fc.integer({ min: 1, max: 4 }),
    expires: fc.boolean(),
  })
  .map(({ matches, every, expires, ...rest }) =>
    badRule({
      ...rest,
      matches: (facts) => (facts.count('flags') % every === every - 1 ? matches(facts) : 'it matches'),
      ...(expires ? { expiresAfterSeconds: 60 } : {}),
    }),
  );

const notBad = <Value>(record: Readonly<Record<string, Value>>) =>
  Object.entries(record).filter(([key]) => key !== BAD && !key.startsWith(`${BAD}.`));

/** All that was decided, but for what the failing rule itself left. */
function withoutBad(partition: SimulatedPartition): object {
  const { documents, indexes, timers, log, at } = partition.snapshot();
  return {
    documents: documents.map(([name, document]) => {
      if (name === PARTITION_DOCUMENT) {
        const { users, rules, shadow, controls, rollbacks } = document as PartitionState;
        return [name, users, rules, notBad(shadow), controls, rollbacks];
      }
      const user = document as UserState;
      const restrictions = user.restrictions.filter(({ rule }) => rule !== BAD);
      const [windows, recent, shadow] = [user.windows, user.recent, user.shadow].map((each) =>
        notBad(each as Record<string, unknown>),
      );
      return [name, user.known, user.profile, windows, recent, restrictions, user.overrides, shadow];
    }),
    indexes: indexes
      .filter(([name]) => name !== `restricted:${BAD}`)
      .map(([name, members]) => ({
        name,
        members: members.filter(([member]) => !member.endsWith(`:${BAD}`)),
      }))
      .filter(({ members }) => members.length > 0),
    timers: timers.filter(([name]) => !name.startsWith(`expire:${BAD}:`)),
    log: log.filter((effect) => !isAbout(effect)),
    at,
  };
}

function isAbout(effect: Effect): boolean {
  if (effect.kind === 'count') return 'rule' in effect && effect.rule === BAD;
  if (effect.kind === 'index' || effect.kind === 'unindex') {
    return effect.index === `restricted:${BAD}` || effect.member.endsWith(`:${BAD}`);
  }
  if (effect.kind === 'timer' || effect.kind === 'cancel_timer')
    return effect.id.startsWith(`expire:${BAD}:`);
  return effect.kind === 'emit' && (effect.body as { readonly rule?: string }).rule === BAD;
}

describe('rules that fail, in whatever mode and way', () => {
  it('leave what all others decide as it is without them, and no dead letters', () => {
    fc.assert(
      fc.property(history, failing, fc.nat(CATALOG.length), (entries, bad, place) => {
        const end = (entries.at(-1)?.at ?? 0) + 500_000;
        const decided = (rules: readonly Rule[]) =>
          withoutBad(new SimulatedPartition(rules, deniesSome).run(entries, 7).idle(end));
        expect(decided(CATALOG.toSpliced(place, 0, bad))).to.deep.equal(decided(CATALOG));
      }),
    );
  });

  it('fail in the same way when the same history is replayed, however it is cut into batches', () => {
    fc.assert(
      fc.property(history, failing, fc.integer({ min: 1, max: 9 }), (entries, bad, size) => {
        const decided = (...sizes: number[]) =>
          new SimulatedPartition([...CATALOG, bad], deniesSome).run(entries, ...sizes).snapshot();
        expect(decided(size)).to.deep.equal(decided());
      }),
    );
  });
});
