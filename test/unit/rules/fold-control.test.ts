import { expect } from 'chai';
import { compileCatalog } from '../../../rules/restrictions/compile-catalog.js';
import { foldControl } from '../../../rules/restrictions/fold-control.js';
import { foldRollback } from '../../../rules/restrictions/fold-rollback.js';
import type { Rule } from '../../../rules/restrictions/rule.js';
import type { Control, TripwireLimits } from '../../../shared/messages/commands.js';
import { NEW_PARTITION } from '../../../shared/state/partition-state.js';
import { control, flag } from './messages.js';
import { SimulatedPartition } from './simulated-partition.js';
import { burstRule, runawayRule } from './test-rules.js';

const rule = 'runaway_rule';
const limits: TripwireLimits = { max_share: 0.5, max_users: 3, min_population: 5, window_seconds: 60 };
const users = (from: number, to: number) => Array.from({ length: to - from }, (_, n) => `u${from + n}`);
const restrictedUsers = (partition: SimulatedPartition) =>
  Object.keys(partition.index(`restricted:${rule}`)).sort();
const replies = (partition: SimulatedPartition) =>
  partition.effects('reply').map(({ to, body }) => [to, body]);

describe('the control fold', () => {
  it('sets mode, limits and era of a rule and answers', () => {
    const partition = new SimulatedPartition([runawayRule()]).run([
      control(1, { control: '1-0', rule, action: 'mode', mode: 'off', lift: false }, 'api/1'),
      control(2, { control: '2-0', rule, action: 'tripwire', limits }, 'api/2'),
      control(3, { control: '3-0', rule, action: 'rearm' }, 'api/3'),
    ]);
    expect(partition.partition.rules).to.deep.equal({
      [rule]: { mode: 'off', modeControl: '1-0', limits, limitsControl: '2-0', era: '3-0' },
    });
    expect(partition.partition.controls).to.deep.equal(['1-0', '2-0', '3-0']);
    expect(replies(partition)).to.deep.equal([
      ['api/1', { applied: true }],
      ['api/2', { applied: true }],
      ['api/3', { applied: true }],
    ]);
  });

  it('lets a setting give way only to a newer control, whatever the order of arrival', () => {
    const controls: Control[] = [
      { control: '10-0', rule, action: 'mode', mode: 'off', lift: false },
      { control: '9-5', rule, action: 'mode', mode: 'shadow', lift: false },
      { control: '10-1', rule, action: 'tripwire', limits },
      { control: '9-1', rule, action: 'tripwire', limits: { ...limits, max_users: null } },
      { control: '10-2', rule, action: 'rearm' },
      { control: '9-2', rule, action: 'rearm' },
    ];
    const settingsAfter = (order: Control[]) =>
      new SimulatedPartition([runawayRule()]).run(order.map((data, at) => control(at, data))).partition.rules;
    const expected = {
      [rule]: { mode: 'off', modeControl: '10-0', limits, limitsControl: '10-1', era: '10-2' },
    };
    expect(settingsAfter(controls)).to.deep.equal(expected);
    expect(settingsAfter(controls.toReversed())).to.deep.equal(expected);
  });

  it('applies a control id once, and answers again', () => {
    const partition = new SimulatedPartition([runawayRule()]).run([
      control(1, { control: '1-0', rule, action: 'mode', mode: 'off', lift: false }, 'api/1'),
      control(2, { control: '2-0', rule, action: 'mode', mode: 'live', lift: false }, 'api/2'),
      control(3, { control: '1-0', rule, action: 'mode', mode: 'off', lift: false }, 'api/3'),
    ]);
    expect(partition.partition.rules[rule]?.mode).to.equal('live');
    expect(partition.partition.controls).to.deep.equal(['1-0', '2-0']);
    expect(replies(partition).at(-1)).to.deep.equal(['api/3', { applied: true }]);
  });

  it('remembers more control ids than the log keeps', () => {
    const all = Array.from({ length: 260 }, (_, n) =>
      control(n, { control: `${n}-0`, rule, action: 'rearm' }),
    );
    const { controls } = new SimulatedPartition([runawayRule()]).run(all).partition;
    expect([controls.length, controls[0], controls.at(-1)]).to.deep.equal([256, '4-0', '259-0']);
  });

  it('keeps what it is told of a rule that it does not know yet: its heir does', () => {
    const early = new SimulatedPartition([]).run([
      control(1, { control: '1-0', rule, action: 'mode', mode: 'shadow', lift: false }, 'api/1'),
      control(2, { control: '2-0', rule, action: 'tripwire', limits }, 'api/2'),
      control(3, { control: '3-0', rule, action: 'rearm' }, 'api/3'),
      control(4, { control: '3-0', rule, action: 'rearm' }, 'api/4'),
    ]);
    expect(replies(early)).to.deep.equal([1, 2, 3, 4].map((n) => [`api/${n}`, { applied: true }]));
    const settings = { mode: 'shadow', modeControl: '1-0', shadowControl: '1-0', limits, era: '3-0' };
    expect(early.partition.rules[rule]).to.deep.equal({ ...settings, limitsControl: '2-0' });
    const heir = early.withRules([runawayRule()]).run([flag(5, 'u')]);
    expect(heir.user('u').restrictions).to.deep.equal([]);
    expect(heir.partition.shadow).to.deep.equal({ [rule]: 1 });
  });

  it('lifts what a rule restricted that is gone from the registry, with its windows and evidence', () => {
    const gone: Rule = {
      ...{ ...burstRule(), name: 'gone_rule', evidence: ['scam_message_flagged'] },
      matches: (facts) => (facts.count('flags') >= 2 ? 'two' : null),
      reset: (profile) => ({ ...profile, scamFlags: 0 }),
    };
    const namesake = burstRule({ name: 'gone_rule_two', evidence: [], matches: () => null });
    const lifts: readonly Control[] = [
      { control: '9-0', rule: 'gone_rule', action: 'rollback', since: 0 },
      { control: '9-0', rule: 'gone_rule', action: 'mode', mode: 'off', lift: true },
    ];
    for (const lift of lifts) {
      const partition = new SimulatedPartition([gone, namesake]).run([flag(1, 'u'), flag(2, 'u')]);
      expect(partition.user('u').restrictions).to.have.length(1);
      expect(partition.index('restricting')).to.deep.equal({ 'message:gone_rule': 2 });
      const later = partition.withRules([runawayRule()]);
      later
        .run([control(5, lift, 'api/1')])
        .idle(6)
        .run([control(7, lift, 'api/2')]);
      const { restrictions, windows, recent, profile } = later.user('u');
      expect([restrictions, Object.keys(windows), recent]).to.deep.equal([[], ['gone_rule_two.flags'], {}]);
      // What its reset was, nobody knows.
      expect(profile.scamFlags).to.equal(2);
      const applied = lift.action === 'mode' ? { applied: true } : {};
      expect(replies(later)).to.deep.equal([
        ['api/1', { ...applied, lifted: 1 }],
        ['api/2', { ...applied, lifted: 0 }],
      ]);
    }
  });

  it('throws for what is no control', () => {
    const fold = (data: unknown) =>
      new SimulatedPartition([runawayRule()]).run([
        { at: 1, message: { type: 'control', subject: '', id: 'x', data } },
      ]);
    const whole = { control: '1-0', rule };
    expect(() => fold(null)).to.throw('the control has no id');
    expect(() => fold({ ...whole, control: 'x' })).to.throw('the control has no id');
    for (const name of [1, '', 'constructor', '__proto__', 'a:b', 'x'.repeat(65)]) {
      expect(() => fold({ ...whole, action: 'rearm', rule: name })).to.throw('the control names no rule');
    }
    expect(() => fold({ ...whole, action: 'dance' })).to.throw('unknown control action dance');
    expect(() => fold({ ...whole, action: 'mode', mode: 'on', lift: false })).to.throw('unknown mode');
    expect(() => fold({ ...whole, action: 'mode', mode: 'off' })).to.throw('lift is not a boolean');
    expect(() => fold({ ...whole, action: 'tripwire', limits: {} })).to.throw('incomplete');
    expect(() => fold({ ...whole, action: 'rollback', since: null })).to.throw('since is not a time');
  });
});

describe('a rollback', () => {
  it('lifts exactly what the rule restricted since the given time, in steps of 500, and answers once', () => {
    const partition = new SimulatedPartition([runawayRule(), runawayRule({ name: 'other_rule' })]).run([
      ...users(0, 100).map((user) => flag(10, user)),
      ...users(100, 1200).map((user) => flag(20, user)),
      control(30, { control: '1-0', rule, action: 'rollback', since: 20 }, 'api/1'),
    ]);
    expect(partition.partition.rollbacks).to.deep.equal([
      { control: '1-0', action: 'rollback', rule, since: 20, until: 30, lifted: 0, reply: 'api/1' },
    ]);
    expect(partition.timers).to.deep.equal({ 'rollback:1-0': 30 });
    partition.idle(30);
    expect(restrictedUsers(partition)).to.deep.equal(
      users(0, 100)
        .map((user) => `default:${user}`)
        .sort(),
    );
    expect(replies(partition)).to.deep.equal([['api/1', { lifted: 1100 }]]);
    expect(partition.partition.rollbacks).to.deep.equal([]);
    expect(partition.timers).to.deep.equal({});
    expect(partition.user('u500').restrictions.map(({ rule }) => rule)).to.deep.equal(['other_rule']);
    expect(partition.effects('timer').length).to.equal(3);
    expect(
      partition.effects('count').filter(({ metric }) => metric === 'restrictions_lifted').length,
    ).to.equal(1100);
    expect(partition.effects('emit').at(-1)?.body).to.include({ cause: 'rollback', control: '1-0', rule });
  });

  it('ends also where it finds exactly one full step', () => {
    const partition = new SimulatedPartition([runawayRule()])
      .run(users(0, 500).map((user) => flag(10, user)))
      .run([control(30, { control: '1-0', rule, action: 'rollback', since: 0 }, 'api/1')])
      .idle(30);
    expect(replies(partition)).to.deep.equal([['api/1', { lifted: 500 }]]);
    expect(partition.partition.rollbacks).to.deep.equal([]);
  });

  it('ends at the first user whom the rule restricted after the rollback was asked for', () => {
    const catalog = compileCatalog([runawayRule()]);
    const partition = new SimulatedPartition([runawayRule()]).run([
      flag(10, 'a'),
      flag(30, 'b'),
      flag(31, 'c'),
      flag(31, 'd'),
    ]);
    const { message } = control(30, { control: '1-0', rule, action: 'rollback', since: 0 }, 'api/1');
    const started = foldControl(NEW_PARTITION, message, catalog, 30);
    const members = [...'abcd'].map((user) => [`default:${user}`, partition.user(user)] as const);
    const step = foldRollback(started.partition, '1-0', members, catalog, 31);
    expect(step.users.map(([member]) => member)).to.deep.equal(['default:a', 'default:b']);
    expect(step.effects.at(-1)).to.deep.equal({ kind: 'reply', to: 'api/1', body: { lifted: 2 } });
    expect(step.partition.rollbacks).to.deep.equal([]);
  });

  it('answers whoever asked last when the same control comes again while it is under way', () => {
    const data: Control = { control: '1-0', rule, action: 'rollback', since: 0 };
    const catalog = compileCatalog([runawayRule()]);
    const started = foldControl(NEW_PARTITION, control(30, data, 'api/1').message, catalog, 30);
    const again = foldControl(started.partition, control(30, data, 'api/2').message, catalog, 30);
    expect(again.effects).to.deep.equal([]);
    expect(again.partition).to.deep.equal({
      ...started.partition,
      rollbacks: [
        { control: '1-0', action: 'rollback', rule, since: 0, until: 30, lifted: 0, reply: 'api/2' },
      ],
    });
    const finished = foldRollback(again.partition, '1-0', [], catalog, 30);
    expect(finished.effects).to.deep.equal([{ kind: 'reply', to: 'api/2', body: { lifted: 0 } }]);
    const late = foldControl(finished.partition, control(31, data, 'api/3').message, catalog, 31);
    expect(late.effects).to.deep.equal([{ kind: 'reply', to: 'api/3', body: { lifted: 0 } }]);
    expect(late.partition).to.equal(finished.partition);
  });

  it('ends also where the index names users that the rule does not restrict, and cleans it', () => {
    const catalog = compileCatalog([runawayRule()]);
    const { message } = control(30, { control: '1-0', rule, action: 'rollback', since: 0 }, 'api/1');
    const { partition } = foldControl(NEW_PARTITION, message, catalog, 30);
    const wrong = users(0, 500).map((user) => [`default:${user}`, null] as const);
    const step = foldRollback(partition, '1-0', wrong, catalog, 30);
    expect(step.users).to.deep.equal([]);
    expect(step.effects.slice(0, -1)).to.deep.equal(
      wrong.map(([member]) => ({ kind: 'unindex', index: `restricted:${rule}`, member })),
    );
    expect(step.effects.at(-1)).to.deep.equal({ kind: 'timer', id: 'rollback:1-0', dueAt: 30 });
  });

  it('is what switching a rule off with lift does, since the beginning of time', () => {
    const partition = new SimulatedPartition([runawayRule()]).run([
      flag(10, 'a'),
      flag(20, 'b'),
      control(30, { control: '1-0', rule, action: 'mode', mode: 'off', lift: true }, 'api/1'),
      flag(31, 'a'),
    ]);
    expect(restrictedUsers(partition)).to.deep.equal([]);
    expect(partition.user('a').restrictions).to.deep.equal([]);
    expect(replies(partition)).to.deep.equal([['api/1', { applied: true, lifted: 2 }]]);
    expect(partition.effects('emit').at(-1)?.body).to.include({ cause: 'mode', control: '1-0' });
  });
});
