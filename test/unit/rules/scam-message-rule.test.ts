import { expect } from 'chai';
import { isDenied } from '../../../shared/state/user-state.js';
import { flag, overrideDelete, overridePut } from './messages.js';
import { SimulatedPartition } from './simulated-partition.js';

describe('scam_message_rule', () => {
  it('lets a user with one flag go on messaging', () => {
    const user = new SimulatedPartition().run([flag(1, 'u')]).user('u');
    expect(user.profile.scamFlags).to.equal(1);
    expect(isDenied(user, 'message')).to.equal(false);
  });

  it('restricts messages, and only messages, at the second flag', () => {
    const user = new SimulatedPartition().run([flag(1, 'u', 'a'), flag(2, 'u', 'b')]).user('u');
    expect(user.restrictions).to.deep.equal([
      {
        rule: 'scam_message_rule',
        version: 1,
        feature: 'message',
        reason: '2 messages were flagged as scam',
        evidence: ['a', 'b'],
        restrictedAt: 2,
        expiresAt: null,
      },
    ]);
    expect(isDenied(user, 'message')).to.equal(true);
    expect(isDenied(user, 'purchase')).to.equal(false);
  });

  it('starts from nothing after a lift: one more flag does not restrict again, two do, with new evidence', () => {
    const partition = new SimulatedPartition().run([
      flag(1, 'u'),
      flag(2, 'u'),
      overridePut(3, 'u', 'message', true),
      overrideDelete(4, 'u', 'message'),
      flag(5, 'u', 'x'),
    ]);
    expect(partition.user('u').restrictions).to.deep.equal([]);
    partition.run([flag(6, 'u', 'y')]);
    expect(partition.user('u').restrictions.map(({ evidence }) => evidence)).to.deep.equal([['x', 'y']]);
  });
});
