import { expect } from 'chai';
import { compileCatalog } from '../../../rules/restrictions/compile-catalog.js';
import type { Context } from '../../../rules/restrictions/draft.js';
import { foldExpiry, foldOverrideExpiry } from '../../../rules/restrictions/fold-timer.js';
import { parseTimer } from '../../../rules/restrictions/timer-id.js';
import { NEW_PARTITION } from '../../../shared/state/partition-state.js';
import { NEW_USER, type UserState } from '../../../shared/state/user-state.js';

const context: Context = {
  tenant: 'default',
  userId: 'u',
  catalog: compileCatalog([]),
  answers: new Map(),
  at: 100,
  message: null,
};

const user: UserState = {
  ...NEW_USER,
  known: true,
  restrictions: [
    {
      rule: 'retired_rule',
      version: 3,
      feature: 'message',
      reason: 'r',
      evidence: [],
      restrictedAt: 1,
      expiresAt: 50,
    },
  ],
  overrides: [{ feature: 'purchase', allow: false, reason: 'r', actor: 'a', setAt: 1, expiresAt: 50 }],
};

describe('the timer folds', () => {
  it('lift a restriction whose time has come, also of a rule that is gone from the registry', () => {
    const folded = foldExpiry(user, NEW_PARTITION, 'retired_rule', 50, context);
    expect(folded.user).to.deep.equal({ ...user, restrictions: [] });
  });

  it('ignore a stale timer: what it was for ends later, or never, or is gone', () => {
    expect(foldExpiry(user, NEW_PARTITION, 'retired_rule', 49, context).user).to.equal(user);
    expect(foldExpiry(user, NEW_PARTITION, 'another_rule', 50, context).user).to.equal(user);
    expect(foldOverrideExpiry(user, NEW_PARTITION, 'purchase', 49, context).user).to.equal(user);
    expect(foldOverrideExpiry(user, NEW_PARTITION, 'message', 50, context).user).to.equal(user);
    const lasting = { ...user, restrictions: user.restrictions.map((r) => ({ ...r, expiresAt: null })) };
    expect(foldExpiry(lasting, NEW_PARTITION, 'retired_rule', 50, context).user).to.equal(lasting);
  });

  it('are addressed unambiguously, whatever a user is called', () => {
    expect(parseTimer('expire:some_rule:default:a:b::c')).to.deep.equal({
      kind: 'expire',
      rule: 'some_rule',
      subject: { tenant: 'default', userId: 'a:b::c' },
    });
    expect(parseTimer('override:message:t-1:u')).to.deep.equal({
      kind: 'override',
      feature: 'message',
      subject: { tenant: 't-1', userId: 'u' },
    });
    expect(parseTimer('rollback:5-0')).to.deep.equal({ kind: 'rollback', control: '5-0' });
  });

  it('throw for a timer that nobody set', () => {
    for (const id of ['', 'nonsense', 'rollback', 'override:flying:default:u', 'expire:rule:u']) {
      expect(() => parseTimer(id), id).to.throw();
    }
  });
});
