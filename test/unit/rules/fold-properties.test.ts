import { expect } from 'chai';
import fc from 'fast-check';
import { FEATURES } from '../../../shared/messages/events.js';
import { CATALOG, command, deniesSome, entriesOf, event, history, USERS, user } from './histories.js';
import { type Entry, SimulatedPartition } from './simulated-partition.js';
import { SEED_RULES } from './test-rules.js';

const stateAfter = (entries: readonly Entry[], ...sizes: number[]) =>
  new SimulatedPartition(CATALOG, deniesSome).run(entries, ...sizes);

describe('the folds', () => {
  it('decide the same when the same history is replayed', () => {
    fc.assert(
      fc.property(history, (entries) => {
        expect(stateAfter(entries, 7).snapshot()).to.deep.equal(stateAfter(entries, 7).snapshot());
      }),
    );
  });

  it('decide the same however the history is cut into batches', () => {
    fc.assert(
      fc.property(history, fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1 }), (entries, sizes) => {
        expect(stateAfter(entries, ...sizes).snapshot()).to.deep.equal(stateAfter(entries).snapshot());
      }),
    );
  });

  it('decide the same when messages are delivered again, at any later moment', () => {
    fc.assert(
      fc.property(history, fc.array(fc.tuple(fc.nat(), fc.nat()), { maxLength: 20 }), (entries, copies) => {
        const delivered = [...entries];
        for (const [which, later] of copies) {
          const copied = delivered[which % delivered.length]!;
          const first = delivered.indexOf(copied);
          const place = first + 1 + (later % (delivered.length - first));
          // It comes again at the time of its new place: the time of the stream never goes back.
          delivered.splice(place, 0, { ...copied, at: delivered[place - 1]!.at });
        }
        const end = entries.at(-1)!.at;
        expect(stateAfter(delivered, 3).idle(end).snapshot()).to.deep.equal(
          stateAfter(entries, 3).idle(end).snapshot(),
        );
      }),
    );
  });

  it('decide about each user from its own messages in their order, whoever else comes between', () => {
    const timeless = fc.oneof(event, command).map((draw) => ({ ...draw, step: draw.step * 7 }));
    fc.assert(
      fc.property(fc.array(timeless, { maxLength: 60 }), (draws) => {
        // Several users at the same moments: their messages may come in any order, each user's own may not.
        const entries = entriesOf(draws).map(({ message, at }) => ({
          message,
          at: Math.floor(at / 50_000) * 50_000,
        }));
        const byUser = (order: readonly string[]) =>
          entries.toSorted(
            (a, b) => a.at - b.at || order.indexOf(a.message.subject) - order.indexOf(b.message.subject),
          );
        const [one, other] = [stateAfter(byUser(USERS)), stateAfter(byUser(USERS.toReversed()))];
        const alone = USERS.map((name) =>
          stateAfter(entries.filter(({ message }) => message.subject === name)),
        );
        const until = (entries.at(-1)?.at ?? 0) + 1;
        for (const partition of [one, other, ...alone]) partition.idle(until);
        for (const [index, name] of USERS.entries()) {
          expect(other.user(name)).to.deep.equal(one.user(name));
          expect(alone[index]!.user(name)).to.deep.equal(one.user(name));
        }
        expect(other.partition).to.deep.equal(one.partition);
      }),
    );
  });

  it('lose nothing and count nothing twice: sums, users, restrictions and their index agree with the history', () => {
    fc.assert(
      fc.property(history, (entries) => {
        const partition = stateAfter(entries, 5);
        const events = entries.filter(({ message }) =>
          /^(scam|credit|purchase|chargeback)/.test(message.type),
        );
        const spent = events
          .filter(({ message }) => message.type === 'purchase_made')
          .reduce(
            (sum, { message }) =>
              sum + BigInt(Math.round((message.data as { amount: number }).amount * 10_000)),
            0n,
          );
        expect(USERS.reduce((sum, name) => sum + partition.user(name).profile.spend, 0n)).to.equal(spent);
        expect(partition.partition.users).to.equal(
          new Set(events.map(({ message }) => message.subject)).size,
        );
        for (const { name } of CATALOG) {
          const counted = (metric: string) =>
            partition
              .effects('count')
              .filter((effect) => effect.metric === metric && 'rule' in effect && effect.rule === name)
              .length;
          const standing = USERS.filter((user) =>
            partition.user(user).restrictions.some(({ rule }) => rule === name),
          );
          expect(counted('rule_hits') - counted('restrictions_lifted')).to.equal(standing.length);
          expect(Object.keys(partition.index(`restricted:${name}`)).sort()).to.deep.equal(
            standing.map((user) => `default:${user}`).sort(),
          );
        }
        const replies = partition.effects('reply').map(({ to }) => to);
        expect(new Set(replies).size).to.equal(replies.length);
      }),
    );
  });

  it('keep what they set back: a restriction that is lifted by a person comes back for new reasons only', () => {
    fc.assert(
      fc.property(history, user, (entries, name) => {
        const at = (entries.at(-1)?.at ?? 0) + 1;
        const lifted = FEATURES.flatMap((feature, n): Entry[] => [
          {
            at,
            message: {
              type: 'override_put',
              subject: name,
              id: `p${n}`,
              data: { feature, allow: true, reason: 'r', actor: 'a' },
            },
          },
          { at, message: { type: 'override_delete', subject: name, id: `d${n}`, data: { feature } } },
        ]);
        const allRestricted = new SimulatedPartition(SEED_RULES).run(
          entries.filter(({ message }) => message.type !== 'control'),
        );
        const standing = allRestricted.user(name).restrictions.map(({ rule }) => rule);
        const left = allRestricted.run(lifted).user(name);
        expect(left.restrictions.filter(({ rule }) => standing.includes(rule))).to.deep.equal([]);
      }),
    );
  });
});
