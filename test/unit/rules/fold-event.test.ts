import { expect } from 'chai';
import { compileCatalog } from '../../../rules/restrictions/compile-catalog.js';
import { foldEvent } from '../../../rules/restrictions/fold-event.js';
import type { Rule } from '../../../rules/restrictions/rule.js';
import type { Control } from '../../../shared/messages/commands.js';
import { NEW_PARTITION } from '../../../shared/state/partition-state.js';
import { NEW_USER } from '../../../shared/state/user-state.js';
import { card, control, flag, overridePut, purchase } from './messages.js';
import { type Answer, SimulatedPartition } from './simulated-partition.js';
import { burstRule, runawayRule } from './test-rules.js';

const mode = (at: number, rule: string, to: 'live' | 'shadow' | 'off', lift = false) =>
  control(at, { control: `${at}-0`, rule, action: 'mode', mode: to, lift } satisfies Control);

/** Denies until told otherwise; remembers what it was asked. */
function tripped(): { answer: Answer; asked: string[]; open: () => void } {
  const asked: string[] = [];
  let isOpen = false;
  const answer: Answer = (reservations) => {
    asked.push(...reservations.map(({ key }) => key));
    return new Map(reservations.map(({ key }) => [key, isOpen]));
  };
  return {
    answer,
    asked,
    open: () => {
      isOpen = true;
    },
  };
}

describe('the event fold', () => {
  it('counts a user as known at the first event and never again', () => {
    const partition = new SimulatedPartition().run([flag(1, 'a'), flag(2, 'a'), purchase(3, 'b', 1)]);
    expect(partition.partition.users).to.equal(2);
  });

  it('does not count a user of whom only an override is known, until an event comes', () => {
    const partition = new SimulatedPartition().run([overridePut(1, 'a', 'message', false)]);
    expect(partition.partition.users).to.equal(0);
    partition.run([flag(2, 'a')]);
    expect(partition.partition.users).to.equal(1);
  });

  it('says everything an audit log needs when it restricts, indexes the user and counts the hit', () => {
    const partition = new SimulatedPartition().run([flag(7, 'u', 'a'), flag(8, 'u', 'b')]);
    expect(partition.effects('emit')).to.deep.equal([
      {
        kind: 'emit',
        type: 'restricted',
        body: {
          tenant: 'default',
          user: 'u',
          at: 8,
          message: 'b',
          feature: 'message',
          rule: 'scam_message_rule',
          version: 1,
          reason: '2 messages were flagged as scam',
          evidence: ['a', 'b'],
          expires_at: null,
        },
      },
    ]);
    expect(partition.index('restricted:scam_message_rule')).to.deep.equal({ 'default:u': 8 });
    expect(partition.effects('count')).to.deep.equal([
      { kind: 'count', metric: 'rule_hits', rule: 'scam_message_rule' },
    ]);
  });

  it('keeps the ids of the last five events that explain a rule', () => {
    const rule = burstRule({ matches: ({ profile }) => (profile.scamFlags >= 7 ? 'seven' : null) });
    const flags = [1, 2, 3, 4, 5, 6, 7].map((n) => flag(n, 'u', `f${n}`));
    const { restrictions } = new SimulatedPartition([rule]).run(flags).user('u');
    expect(restrictions[0]?.evidence).to.deep.equal(['f3', 'f4', 'f5', 'f6', 'f7']);
  });

  it('counts the events of a sliding window, and only those', () => {
    const partition = new SimulatedPartition([burstRule()]);
    partition.run([flag(0, 'u'), flag(1, 'u'), flag(60_000, 'u'), card(60_000, 'u', 'c', 'z')]);
    expect(partition.user('u').restrictions).to.deep.equal([]);
    partition.run([flag(60_001, 'u'), flag(60_001, 'u')]);
    expect(partition.user('u').restrictions.map(({ reason }) => reason)).to.deep.equal(['3 flags']);
    expect(partition.user('u').windows['burst_rule.flags']?.map(([at]) => at)).to.deep.equal([
      60_000, 60_001, 60_001,
    ]);
  });

  it('keeps no more entries in a window than it declares, and counts no higher', () => {
    const spec = { event: 'scam_message_flagged', seconds: 60, entriesMax: 2 } as const;
    const partition = new SimulatedPartition([burstRule({ windows: { flags: spec } })]);
    partition.run([1, 2, 3, 4].map((at) => flag(at, 'u')));
    expect(partition.user('u').windows['burst_rule.flags']).to.deep.equal([
      [3, ''],
      [4, ''],
    ]);
    expect(partition.user('u').restrictions).to.deep.equal([]);
  });

  it('restricts a user that the tripwire denied at the next event once it grants, and counts the denial', () => {
    const wire = tripped();
    const partition = new SimulatedPartition(undefined, wire.answer).run([flag(1, 'u'), flag(2, 'u')]);
    expect(partition.user('u').profile.scamFlags).to.equal(2);
    expect(partition.user('u').restrictions).to.deep.equal([]);
    expect(partition.effects('count').map(({ metric }) => metric)).to.deep.equal(['rule_denied']);
    wire.open();
    partition.run([purchase(3, 'u', 1)]);
    expect(partition.user('u').restrictions.map(({ restrictedAt }) => restrictedAt)).to.deep.equal([3]);
    expect(wire.asked).to.deep.equal(['scam_message_rule\0default\0u', 'scam_message_rule\0default\0u']);
  });

  it('restricts before it has an answer, and lists the question; a granted one is not asked again', () => {
    const { message } = flag(9, 'u');
    const fold = (answers: ReadonlyMap<string, boolean>) =>
      foldEvent(NEW_USER, NEW_PARTITION, message, {
        tenant: 'default',
        userId: 'u',
        catalog: compileCatalog([runawayRule()]),
        answers,
        at: 9,
        message: message.id,
      });
    const key = 'runaway_rule\0default\0u';
    const asking = fold(new Map());
    expect(asking.user.restrictions.length).to.equal(1);
    expect(asking.reservations).to.deep.equal([{ key, rule: 'runaway_rule', subject: 'default:u', at: 9 }]);
    const granted = fold(new Map([[key, true]]));
    expect(granted).to.deep.equal({ ...asking, reservations: [] });
    expect(fold(new Map([[key, false]])).user.restrictions).to.deep.equal([]);
  });

  it('asks the tripwire nothing about a user whom the rule restricts already', () => {
    const wire = tripped();
    wire.open();
    new SimulatedPartition(undefined, wire.answer).run(
      [1, 2, 3, 4].map((at) => flag(at, 'u')),
      1,
    );
    expect(wire.asked.length).to.equal(1);
  });

  it('restricts nobody while an override on the feature stands, whichever way it decides', () => {
    for (const allow of [true, false]) {
      const partition = new SimulatedPartition().run([
        overridePut(1, 'u', 'message', allow),
        ...[2, 3, 4].map((at) => flag(at, 'u')),
      ]);
      expect(partition.user('u').restrictions).to.deep.equal([]);
      expect(partition.user('u').profile.scamFlags).to.equal(3);
    }
  });

  it('ignores a rule that is off, and lets it decide at the next event after it goes live', () => {
    const matches: Rule['matches'] = ({ profile }) => (profile.scamFlags >= 3 ? '3 flags' : null);
    const partition = new SimulatedPartition([burstRule({ mode: 'off', matches })]);
    partition.run([1, 2, 3].map((at) => flag(at, 'u', `f${at}`)));
    expect(partition.user('u').restrictions).to.deep.equal([]);
    partition.run([mode(4, 'burst_rule', 'live'), purchase(5, 'u', 1)]);
    const [restriction] = partition.user('u').restrictions;
    expect(restriction?.reason).to.equal('3 flags');
    expect(restriction?.evidence).to.deep.equal(['f1', 'f2', 'f3']);
  });

  it('keeps no windows for a rule that is off: live, it counts from then on', () => {
    const partition = new SimulatedPartition([burstRule({ mode: 'off' })]);
    partition.run([flag(1, 'u'), flag(2, 'u')]);
    expect(partition.user('u').windows).to.deep.equal({});
    partition.run([mode(3, 'burst_rule', 'live'), flag(4, 'u'), flag(5, 'u')]);
    expect(partition.user('u').restrictions).to.deep.equal([]);
    partition.run([flag(6, 'u')]);
    expect(partition.user('u').restrictions.map(({ reason }) => reason)).to.deep.equal(['3 flags']);
  });

  it('counts in shadow mode each user once and restricts nobody', () => {
    const partition = new SimulatedPartition([runawayRule({ mode: 'shadow' })], () => {
      throw new Error('shadow mode asked the tripwire');
    });
    partition.run([flag(1, 'a'), flag(2, 'a'), flag(3, 'b')]);
    expect(partition.partition.shadow).to.deep.equal({ runaway_rule: 2 });
    expect(partition.user('a').restrictions).to.deep.equal([]);
    expect(partition.effects('count')).to.deep.equal(
      [1, 2].map(() => ({ kind: 'count', metric: 'rule_shadow_hits', rule: 'runaway_rule' })),
    );
  });

  it('counts afresh in each stay in shadow mode, and goes on counting when shadow is set again', () => {
    const partition = new SimulatedPartition([runawayRule({ mode: 'shadow' })]);
    partition.run([flag(1, 'a'), mode(2, 'runaway_rule', 'shadow'), flag(3, 'a')]);
    expect(partition.partition.shadow).to.deep.equal({ runaway_rule: 1 });
    partition.run([mode(4, 'runaway_rule', 'off')]);
    expect(partition.partition.shadow).to.deep.equal({});
    partition.run([mode(5, 'runaway_rule', 'shadow'), flag(6, 'a'), flag(7, 'a')]);
    expect(partition.partition.shadow).to.deep.equal({ runaway_rule: 1 });
  });

  it('lets every rule decide for itself at the same event', () => {
    const partition = new SimulatedPartition([
      runawayRule({ name: 'one' }),
      runawayRule({ name: 'two', feature: 'purchase' }),
    ]);
    partition.run([flag(1, 'u')]);
    expect(partition.user('u').restrictions.map(({ rule }) => rule)).to.deep.equal(['one', 'two']);
  });

  it('throws for what is no event, and for an event without what it must carry', () => {
    const run = (type: string, data: unknown, subject = 'u') =>
      new SimulatedPartition().run([{ at: 1, message: { type, subject, id: 'x', data } }]);
    expect(() => run('nonsense', {})).to.throw('unknown message type nonsense');
    expect(() => run('constructor', {})).to.throw('unknown message type constructor');
    expect(() => run('scam_message_flagged', null)).to.throw('the event has no properties');
    expect(() => run('scam_message_flagged', {}, '')).to.throw('the event has no user');
    expect(() => run('credit_card_added', { card_id: 'c' })).to.throw('zip_code is not a string');
    expect(() => run('purchase_made', { amount: '3' })).to.throw('amount is not a number greater than 0');
  });
});
