import { expect } from 'chai';
import { isDenied } from '../../../shared/state/user-state.js';
import { card, chargeback, flag, overrideDelete, overridePut, purchase } from './messages.js';
import { SimulatedPartition } from './simulated-partition.js';

/** u is restricted by all four rules. */
const restricted = () =>
  new SimulatedPartition().run([
    flag(1, 'u'),
    flag(2, 'u'),
    ...[3, 4, 5, 6, 7].map((n) => card(n, 'u', `${n}`, `${n}`)),
    purchase(8, 'u', 1),
    chargeback(9, 'u', 1),
  ]);

describe('the override folds', () => {
  it('lift what every rule restricted on that feature, with the counters that caused it, and nothing else', () => {
    const partition = restricted();
    expect(partition.user('u').restrictions.map(({ rule }) => rule)).to.deep.equal([
      'scam_message_rule',
      'unique_zip_code_rule',
      'card_testing_rule',
      'chargeback_ratio_rule',
    ]);
    partition.run([overridePut(10, 'u', 'purchase', true)]);
    const { profile, restrictions, windows } = partition.user('u');
    expect(restrictions.map(({ rule }) => rule)).to.deep.equal(['scam_message_rule']);
    expect(profile).to.deep.equal({ scamFlags: 2, cards: [], spend: 10_000n, chargebacks: 0n });
    expect(windows).to.deep.equal({});
    expect(partition.timers).to.deep.equal({});
    expect(partition.index('restricted:card_testing_rule')).to.deep.equal({});
    expect(partition.index('restricted:scam_message_rule')).to.deep.equal({ 'default:u': 2 });
  });

  it('tell the audit log who lifted what, and that the override was set', () => {
    const partition = new SimulatedPartition().run([flag(1, 'u'), flag(2, 'u')]);
    const put = overridePut(3, 'u', 'message', true, { reply: 'api/1' });
    partition.run([put]);
    const about = { tenant: 'default', user: 'u', at: 3, message: put.message.id, feature: 'message' };
    expect(partition.effects('emit').slice(1)).to.deep.equal([
      {
        kind: 'emit',
        type: 'lifted',
        body: {
          ...about,
          rule: 'scam_message_rule',
          version: 1,
          restricted_at: 2,
          cause: 'override',
          reason: 'checked',
          actor: 'ada',
        },
      },
      {
        kind: 'emit',
        type: 'override_set',
        body: { ...about, allow: true, reason: 'checked', actor: 'ada', expires_at: null },
      },
    ]);
    expect(partition.effects('reply')).to.deep.equal([
      { kind: 'reply', to: 'api/1', body: { applied: true } },
    ]);
    expect(partition.effects('count').map(({ metric }) => metric)).to.deep.equal([
      'rule_hits',
      'restrictions_lifted',
    ]);
  });

  it('deny a feature by hand, also to a user whom no rule restricts, and leave rule restrictions alone', () => {
    const partition = restricted().run([
      overridePut(10, 'u', 'message', false),
      overridePut(11, 'stranger', 'purchase', false),
    ]);
    expect(isDenied(partition.user('stranger'), 'purchase')).to.equal(true);
    expect(partition.user('u').restrictions.length).to.equal(4);
    expect(partition.user('u').profile.scamFlags).to.equal(2);
  });

  it('replace the override of the same feature, with its expiry', () => {
    const partition = new SimulatedPartition().run([
      overridePut(1, 'u', 'message', false, { expires_at: 100 }),
      overridePut(2, 'u', 'purchase', false),
    ]);
    expect(partition.timers).to.deep.equal({ 'override:message:default:u': 100 });
    partition.run([overridePut(3, 'u', 'message', true)]);
    expect(partition.timers).to.deep.equal({});
    expect(
      partition
        .user('u')
        .overrides.map(({ feature, allow, setAt, expiresAt }) => [feature, allow, setAt, expiresAt]),
    ).to.deep.equal([
      ['purchase', false, 2, null],
      ['message', true, 3, null],
    ]);
  });

  it('let the rules decide at once when an override is deleted', () => {
    const partition = new SimulatedPartition().run([
      overridePut(1, 'u', 'message', true),
      flag(2, 'u'),
      flag(3, 'u'),
      overrideDelete(4, 'u', 'message', 'api/1'),
    ]);
    expect(partition.user('u').restrictions.map(({ restrictedAt }) => restrictedAt)).to.deep.equal([4]);
    expect(partition.effects('reply')).to.deep.equal([
      { kind: 'reply', to: 'api/1', body: { existed: true } },
    ]);
  });

  it('say that there was nothing to delete, and change nothing', () => {
    const partition = new SimulatedPartition().run([overrideDelete(4, 'u', 'message', 'api/1')]);
    expect(partition.effects('reply')).to.deep.equal([
      { kind: 'reply', to: 'api/1', body: { existed: false } },
    ]);
    expect(partition.effects('emit')).to.deep.equal([]);
    expect(partition.documentNames).to.deep.equal([]);
  });

  it('leave no document behind of a user of whom only the deleted override was known', () => {
    const partition = new SimulatedPartition().run([
      overridePut(1, 'u', 'message', false),
      overrideDelete(2, 'u', 'message'),
    ]);
    expect(partition.documentNames).to.deep.equal([]);
  });

  it('end an override at its time; the rules decide at once', () => {
    const partition = new SimulatedPartition().run([
      flag(1, 'u'),
      overridePut(2, 'u', 'message', true, { expires_at: 50 }),
      flag(3, 'u'),
      flag(4, 'u'),
    ]);
    partition.idle(49);
    expect(isDenied(partition.user('u'), 'message')).to.equal(false);
    partition.idle(50);
    expect(partition.user('u').overrides).to.deep.equal([]);
    expect(isDenied(partition.user('u'), 'message')).to.equal(true);
    expect(
      partition.effects('emit').map(({ type, body }) => [type, (body as { cause?: string }).cause]),
    ).to.deep.equal([
      ['override_set', undefined],
      ['override_removed', 'expired'],
      ['restricted', undefined],
    ]);
  });

  it('throw for an override that says too little', () => {
    const put = (data: unknown) =>
      new SimulatedPartition().run([
        { at: 1, message: { type: 'override_put', subject: 'u', id: 'x', data } },
      ]);
    const whole = { feature: 'message', allow: true, reason: 'r', actor: 'a' };
    expect(() => put(null)).to.throw('allow is not a boolean');
    expect(() => put({ ...whole, feature: 'flying' })).to.throw('the override names no known feature');
    expect(() => put({ ...whole, reason: 1 })).to.throw('reason is not a string');
    expect(() => put({ ...whole, actor: null })).to.throw('actor is not a string');
    expect(() => put({ ...whole, expires_at: 'soon' })).to.throw('expires_at is not a time');
  });
});
