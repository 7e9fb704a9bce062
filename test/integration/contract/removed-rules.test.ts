import { expect } from 'chai';
import { RULES } from '../../../rules/restrictions/registry.js';
import type { Rule } from '../../../rules/restrictions/rule.js';
import type { HttpClient } from '../../support/http-client.js';
import { NO_TRIPWIRE, WeirFixture } from '../../support/weir-fixture.js';
import { chargeback, flag, People, purchase } from './people.js';
import { rules as rulesOf } from './rule-views.js';

const retiredRule: Rule = {
  ...{ name: 'retired_rule', version: 3, feature: 'purchase', mode: 'live' },
  description: 'No purchases after a flag.',
  evidence: ['scam_message_flagged'],
  windows: { flags: { event: 'scam_message_flagged', seconds: 3600 } },
  matches: (facts) => (facts.count('flags') > 0 && facts.profile.scamFlags > 0 ? 'a flag' : null),
  reset: (profile) => ({ ...profile, scamFlags: 0 }),
};
interface Body {
  readonly code?: string;
}

const USERS = ['a', 'b', 'c', 'd', 'e'];

describe('contract: a rule that was removed from the registry', () => {
  let weir: WeirFixture;
  /** An API, like the workers, without the rule. */
  let http: HttpClient;
  let people: People;

  beforeEach(async () => {
    weir = await WeirFixture.start({ settings: NO_TRIPWIRE, workers: 0 });
    const before = await weir.worker({}, [...RULES, retiredRule]);
    await weir.ready();
    people = new People(weir.http);
    for (const user of USERS) await people.post(flag(user));
    for (const user of USERS) await people.counted(user, { scam_message_flags: 1 });
    await people.postAll([purchase('e', 10), chargeback('e', 9)]);
    await people.counted('e', { scam_message_flags: 1, total_spend: 10, total_chargebacks: 9 });
    await before.close();
    await weir.worker();
    http = weir.http;
    await weir.ready();
  });
  afterEach(() => weir.close());

  const removed = async () => (await rulesOf(http)).find(({ name }) => name === 'retired_rule');

  it('is listed while it restricts anybody, and lifted by mode off with lift', async () => {
    for (const user of USERS) expect(await people.canPurchase(user)).to.equal(false);
    expect(await removed()).to.deep.include({
      ...{ name: 'retired_rule', version: null, description: null, mode: 'removed', feature: 'purchase' },
      ...{ restricted_users: 5, shadow_users: 0, errors: { count: 0, last: null, at: null } },
    });
    expect((await rulesOf(http)).map(({ name }) => name)).to.deep.equal([
      ...RULES.map(({ name }) => name),
      'retired_rule',
    ]);
    const { status, body } = await http.put<Body>('/rules/retired_rule/mode', { mode: 'off', lift: true });
    expect([status, body]).to.deep.equal([
      200,
      { status: 'applied', name: 'retired_rule', mode: 'off', lifted: 5, counters_reset: false },
    ]);
    for (const user of USERS.slice(0, 4)) expect(await people.canPurchase(user)).to.equal(true);
    expect(await people.restrictedBy('e')).to.deep.equal(['chargeback_ratio_rule']);
    // What the rule would have reset nobody knows any more; its own windows and evidence are gone.
    expect((await people.view('a')).profile.scam_message_flags).to.equal(1);
    const user = await weir.topic.user('a');
    expect([user?.windows, user?.recent['retired_rule']]).to.deep.equal([{}, undefined]);
    expect(await removed()).to.equal(undefined);
    const again = await http.put<Body>('/rules/retired_rule/mode', { mode: 'off', lift: true });
    expect([again.status, again.body.code]).to.deep.equal([404, 'unknown_rule']);
  });

  it('is rolled back, as far as its window goes', async () => {
    const { status, body } = await http.post<Body>('/rules/retired_rule/rollback');
    expect([status, body]).to.deep.equal([
      200,
      { status: 'applied', name: 'retired_rule', lifted: 5, counters_reset: false },
    ]);
    for (const user of USERS.slice(0, 4)) expect(await people.canPurchase(user)).to.equal(true);
    expect(await removed()).to.equal(undefined);
  });

  it('takes no mode, no limits and no re-arm: 409 rule_removed, and nothing changes', async () => {
    const before = await weir.settledContents();
    for (const { status, body } of [
      await http.put<Body>('/rules/retired_rule/mode', { mode: 'live' }),
      await http.put<Body>('/rules/retired_rule/mode', { mode: 'off' }),
      await http.put<Body>('/rules/retired_rule/tripwire', { max_users: 1 }),
      await http.post<Body>('/rules/retired_rule/rearm'),
    ]) {
      expect([status, body.code]).to.deep.equal([409, 'rule_removed']);
    }
    expect(await weir.contents()).to.deep.equal(before);
  });

  it('that nobody has is 404, whatever it is called', async () => {
    for (const name of ['nothing', 'constructor', '%00', 'a:b', 'x'.repeat(65)]) {
      const { status, body } = await http.post<Body>(`/rules/${name}/rollback`);
      expect([name, status, body.code]).to.deep.equal([name, 404, 'unknown_rule']);
    }
  });

  it('comes back: it is off, and knows whom it restricts', async () => {
    await http.put<Body>('/rules/retired_rule/mode', { mode: 'off', lift: true });
    const back = await weir.api({}, [...RULES, retiredRule]);
    const shown = (await rulesOf(back)).find(({ name }) => name === 'retired_rule');
    expect(shown).to.include({ mode: 'off', version: 3, restricted_users: 0 });
  });
});
