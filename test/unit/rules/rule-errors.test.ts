import { expect } from 'chai';
import { z } from 'zod';
import type { Rule } from '../../../rules/restrictions/rule.js';
import type { Control } from '../../../shared/messages/commands.js';
import { EVENT_PROPERTIES, MODES } from '../../../shared/messages/events.js';
import { encodeUser } from '../../../shared/state/state-codec.js';
import { BAD_MATCHES, BAD_RESETS, badRule } from './bad-rules.js';
import { card, control, flag, overrideDelete, overridePut, purchase } from './messages.js';
import { type Entry, SimulatedPartition } from './simulated-partition.js';
import { burstRule, runawayRule, SEED_RULES } from './test-rules.js';

const beside = (rule: Rule, ...entries: readonly Entry[]) =>
  new SimulatedPartition([rule, ...SEED_RULES]).run(entries);

const restrictedBy = (partition: SimulatedPartition, user: string) =>
  partition.user(user).restrictions.map(({ rule }) => rule);

const errorsOf = (partition: SimulatedPartition) => partition.partition.errors?.['bad_rule'];

describe('a rule that fails', () => {
  for (const [what, matches] of Object.entries(BAD_MATCHES)) {
    it(`and ${what}, is an error of that rule: the event counts, and the others decide`, () => {
      for (const mode of MODES) {
        const first = what.endsWith('where there is one') ? [card(1, 'u', 'a', 'z')] : [];
        const partition = beside(badRule({ matches, mode }), ...first, flag(2, 'u'), flag(3, 'u'));
        expect(partition.user('u').profile.scamFlags).to.equal(2);
        expect(partition.user('u').profile.cards).to.deep.equal(first.map(() => ['a', 'z']));
        expect(restrictedBy(partition, 'u')).to.deep.equal(['scam_message_rule']);
        const errors = errorsOf(partition);
        if (mode === 'off') {
          expect(errors).to.equal(undefined);
          continue;
        }
        expect(errors).to.include({ count: 2 + first.length, at: 3 });
        expect(errors?.last).to.match(/^matches: ./);
        const told = partition.effects('count').filter(({ metric }) => metric === 'rule_errors');
        expect(told).to.have.length(2 + first.length);
        expect(told.at(-1)).to.deep.include({ rule: 'bad_rule', error: errors?.last });
      }
    });
  }

  for (const [what, reset] of Object.entries(BAD_RESETS)) {
    const matches: Rule['matches'] = ({ profile }) => (profile.scamFlags >= 2 ? 'two' : null);
    const bad = badRule({ matches, reset, feature: 'purchase' });

    it(`and whose reset ${what}, leaves the profile as it is, and its restriction is lifted all the same`, () => {
      const partition = beside(bad, flag(1, 'u'), flag(2, 'u'), overridePut(3, 'u', 'purchase', true));
      expect(restrictedBy(partition, 'u')).to.deep.equal(['scam_message_rule']);
      expect(partition.user('u').profile.scamFlags).to.equal(2);
      expect(partition.user('u').windows).to.not.have.property('bad_rule.flags');
      expect(partition.user('u').recent).to.not.have.property('bad_rule');
      expect(errorsOf(partition)).to.include({ count: 1, at: 3 });
      expect(errorsOf(partition)?.last).to.match(/^reset: /);
    });

    it(`and whose reset ${what}, is rolled back, of all users`, () => {
      const flags = ['a', 'b', 'c'].flatMap((user) => [flag(1, user), flag(2, user)]);
      const rollback: Control = { control: '9-0', rule: 'bad_rule', action: 'rollback', since: 0 };
      const partition = beside(bad, ...flags, control(5, rollback, 'api/1')).idle(6);
      for (const user of ['a', 'b', 'c']) {
        expect(restrictedBy(partition, user)).to.deep.equal(['scam_message_rule']);
      }
      expect(partition.effects('reply')).to.deep.equal([{ kind: 'reply', to: 'api/1', body: { lifted: 3 } }]);
      expect(errorsOf(partition)).to.include({ count: 3, at: 5 });
    });
  }

  it('keeps no override from ending, neither by its time nor by hand, and the others decide then', () => {
    const bad = badRule({ matches: BAD_MATCHES['throws a text']! });
    const until = overridePut(1, 'u', 'message', true, { expires_at: 50 });
    const partition = beside(bad, until, flag(2, 'u'), flag(3, 'u')).idle(60);
    expect(partition.user('u').overrides).to.deep.equal([]);
    expect(restrictedBy(partition, 'u')).to.deep.equal(['scam_message_rule']);
    const byHand = beside(bad, flag(1, 'u'), overridePut(2, 'u', 'message', false), flag(3, 'u'));
    byHand.run([overrideDelete(4, 'u', 'message')]);
    expect(restrictedBy(byHand, 'u')).to.deep.equal(['scam_message_rule']);
  });

  it('by reading a window that is no window, begins it anew with the next event', () => {
    const partition = new SimulatedPartition([burstRule()]).run([flag(1, 'u')]);
    partition.replaceUser('u', (user) => ({ ...user, windows: { 'burst_rule.flags': [null] as never } }));
    partition.run([flag(2, 'u'), flag(3, 'u'), flag(4, 'u'), flag(5, 'u')]);
    expect(restrictedBy(partition, 'u')).to.deep.equal(['burst_rule']);
    expect(partition.partition.errors?.['burst_rule']?.count).to.equal(1);
  });

  it('tells no more of its error than people read', () => {
    const matches = () => {
      throw new Error(`\0${'x'.repeat(10_000)}`);
    };
    const last = errorsOf(beside(badRule({ matches }), flag(1, 'u')))!.last;
    expect(last).to.match(/^matches: Error: \uFFFDx+$/);
    expect(last).to.have.length(309);
  });

  it('by a reason that is too long, or that Postgres does not take, restricts with one that is fit to be kept', () => {
    const reasonFor = (reason: string) =>
      new SimulatedPartition([runawayRule({ matches: () => reason })]).run([flag(1, 'u')]).user('u')
        .restrictions[0]?.reason;
    expect(reasonFor('x'.repeat(100_000))).to.equal('x'.repeat(500));
    expect(reasonFor('a\0b\ud800c')).to.equal('a\uFFFDb\uFFFDc');
  });
});

describe('a window of a rule', () => {
  const EVENT = 'device_seen';
  const events = EVENT_PROPERTIES as Record<string, unknown>;
  before(() => {
    events[EVENT] = z.object({ user_id: z.string(), device: z.unknown().optional() });
  });
  after(() => {
    delete events[EVENT];
  });
  const seen = (at: number, device?: unknown): Entry => ({
    at,
    message: { type: EVENT, subject: 'u', id: `d${at}`, data: device === undefined ? {} : { device } },
  });
  const windows = { devices: { event: EVENT, distinct: 'device', seconds: 60 } } as unknown as NonNullable<
    Rule['windows']
  >;
  const matches: Rule['matches'] = (facts) => (facts.distinct('devices') >= 2 ? 'two devices' : null);

  it('over a property that an event may lack is not entered by one that lacks it', () => {
    for (const mode of MODES) {
      const bad = badRule({ windows, matches, mode });
      const partition = beside(
        bad,
        seen(1, 'a'),
        seen(2),
        seen(3, null as unknown),
        seen(4, 'b'),
        flag(5, 'u'),
      );
      expect(restrictedBy(partition, 'u')).to.deep.equal(mode === 'live' ? ['bad_rule'] : []);
      expect(partition.user('u').profile.scamFlags).to.equal(1);
      expect(errorsOf(partition)).to.equal(undefined);
    }
  });

  it('over values that are none is an error of its rule, and keeps what it has', () => {
    const partition = beside(badRule({ windows, matches }), seen(1, 'a'), seen(2, { b: 1 }), seen(3, 'c'));
    expect(restrictedBy(partition, 'u')).to.deep.equal(['bad_rule']);
    expect(errorsOf(partition)).to.deep.equal({
      count: 1,
      last: 'window devices: Error: device is not a text or number',
      at: 2,
    });
  });

  it('that makes a document too large gives way: in shadow first, so that live rules go on', () => {
    const spec = { event: 'credit_card_added', seconds: 86_400, entriesMax: 1024 } as const;
    const hungry = badRule({
      mode: 'shadow',
      windows: { ids: { ...spec, distinct: 'card_id' }, zips: { ...spec, distinct: 'zip_code' } },
    });
    // Larger than each of the others: what is largest gives way first only among rules of one mode.
    const live = burstRule({ windows: { ids: { ...spec, distinct: 'card_id', entriesMax: 900 } } });
    const wide = (n: number) => String.fromCodePoint(0x1f600).repeat(124) + String(n).padStart(4, '0');
    const entries = Array.from({ length: 1024 }, (_, n) => [n, wide(n)] as const);
    const partition = new SimulatedPartition([hungry, { ...live, matches: () => null }, ...SEED_RULES]);
    partition.replaceUser('u', (before) => ({
      ...before,
      windows: {
        'bad_rule.ids': entries.slice(-600),
        'bad_rule.zips': entries.slice(-500),
        'burst_rule.ids': entries.slice(-900),
      },
    }));
    partition.run([card(1024, 'u', wide(1024), wide(1024)), purchase(2000, 'u', 5)]);
    const user = partition.user('u');
    expect(Buffer.byteLength(encodeUser(user))).to.be.below(1024 * 1024);
    expect(user.profile.spend).to.equal(50_000n);
    expect(user.windows['burst_rule.ids']).to.have.length(900);
    expect(partition.partition.errors?.['burst_rule']).to.equal(undefined);
    expect(errorsOf(partition)?.last).to.equal('windows: RangeError: more than a document holds');
    expect(user.windows['bad_rule.zips']!.at(-1)![1]).to.equal(wide(1024));
  });
});
