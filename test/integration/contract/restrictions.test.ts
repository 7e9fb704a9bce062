import { expect } from 'chai';
import { cardTestingRule } from '../../../rules/restrictions/catalog/card-testing-rule.js';
import { until } from '../../support/redis-server.js';
import { NO_TRIPWIRE, WeirFixture } from '../../support/weir-fixture.js';
import {
  card,
  chargeback,
  flag,
  ISO,
  People,
  type Posted,
  type Profile,
  purchase,
  UNKNOWN_PROFILE,
} from './people.js';

describe('contract: restrictions', () => {
  let weir: WeirFixture;
  let people: People;
  before(async () => {
    weir = await WeirFixture.start({ settings: NO_TRIPWIRE, workers: 2 });
    people = new People(weir.http);
  });
  after(() => weir.close());

  it('an unknown user may do everything, is restricted by nothing and has zeros', async () => {
    expect(await people.canMessage('nobody')).to.equal(true);
    expect(await people.canPurchase('nobody')).to.equal(true);
    const view = await people.view('nobody');
    expect(view).to.deep.include({ user_id: 'nobody', restrictions: [], profile: UNKNOWN_PROFILE });
    expect(Object.keys(view.profile)).to.deep.equal(Object.keys(UNKNOWN_PROFILE));
  });

  for (const path of ['/canmessage', '/canpurchase']) {
    it(`GET ${path} answers 422 without user_id, with an empty one and with two`, async () => {
      for (const query of ['', '?', '?user_id', '?user_id=', '?user_id=a&user_id=a', '?userid=a']) {
        const { status, body } = await weir.http.get<{ errors: { path: string }[] }>(path + query);
        expect(status, query).to.equal(422);
        expect(body).to.include({ code: 'invalid_request' });
        expect(body.errors.map((error) => error.path)).to.deep.equal(['user_id']);
      }
    });
  }

  it('two flags, then can_message is false, and the view says why, since when and by which rule', async () => {
    const started = Date.now();
    await people.post(flag('why', { event_id: 'f-1' }));
    await people.counted('why', { scam_message_flags: 1 });
    expect(await people.canMessage('why')).to.equal(true);
    await people.post(flag('why', { event_id: 'f-2' }));
    await until(10_000, 'why is restricted', async () => !(await people.canMessage('why')));
    expect(await people.canPurchase('why')).to.equal(true);
    const view = await people.view('why');
    const [restriction, ...more] = view.restrictions;
    expect(more).to.deep.equal([]);
    const { restricted_at, reason, ...rest } = restriction!;
    expect(rest).to.deep.equal({
      feature: 'message',
      source: 'rule',
      rule: 'scam_message_rule',
      rule_version: 1,
      evidence: ['f-1', 'f-2'],
      expires_at: null,
    });
    expect(reason).to.be.a('string').that.is.not.empty;
    expect(restricted_at).to.match(ISO);
    expect(Date.parse(restricted_at)).to.be.within(started - 1, Date.now());
    expect(view.profile).to.deep.equal({ ...UNKNOWN_PROFILE, scam_message_flags: 2 });
    await people.post(flag('why', { event_id: 'f-3' }));
    await people.counted('why', { scam_message_flags: 3 });
    expect((await people.view('why')).restrictions).to.deep.equal([restriction]);
  });

  it('three times 0.1 is 0.3, and amounts with four decimals add up exactly', async () => {
    for (let i = 0; i < 3; i += 1) await people.post(purchase('sum', 0.1));
    await people.counted('sum', { total_spend: 0.3 });
    await people.postAll([purchase('sum', 99.6999), purchase('sum', 0.0001), chargeback('sum', 1.005)]);
    await people.counted('sum', { total_spend: 100, total_chargebacks: 1.005 });
  });

  it('the same card added twice counts once', async () => {
    await people.postAll([card('same', 'c-1', '1'), card('same', 'c-1', '1'), card('same', 'c-2', '1')]);
    await people.counted('same', { total_credit_cards: 2, unique_zip_codes: 1 });
  });

  type Case = readonly [what: string, events: readonly Posted[], profile: Partial<Profile>, rules: string[]];
  const cards = (user: string, zips: readonly string[]): Posted[] =>
    zips.map((zip, i) => card(user, `card-${i}`, zip));
  const zipRule = 'unique_zip_code_rule';
  const ratioRule = 'chargeback_ratio_rule';
  const testingRule = 'card_testing_rule';
  const cases: readonly Case[] = [
    ['1 flag', [flag('s1')], { scam_message_flags: 1 }, []],
    ['2 flags', [flag('s2'), flag('s2')], { scam_message_flags: 2 }, ['scam_message_rule']],
    ['2 zips on 2 cards', cards('z1', ['1', '2']), { total_credit_cards: 2, unique_zip_codes: 2 }, []],
    [
      '3 zips on 3 cards',
      cards('z2', ['1', '2', '3']),
      { total_credit_cards: 3, unique_zip_codes: 3 },
      [zipRule],
    ],
    ['2 zips on 3 cards', cards('z3', ['1', '1', '2']), { total_credit_cards: 3, unique_zip_codes: 2 }, []],
    [
      '3 zips on 4 cards, which is 0.75',
      cards('z4', ['1', '1', '2', '3']),
      { total_credit_cards: 4, unique_zip_codes: 3 },
      [],
    ],
    [
      '4 zips on 5 cards, which also are 5 cards at once',
      cards('z5', ['1', '1', '2', '3', '4']),
      { total_credit_cards: 5, unique_zip_codes: 4 },
      [zipRule, testingRule],
    ],
    ['chargebacks without a spend', [chargeback('r1', 5)], { total_chargebacks: 5 }, []],
    [
      'chargebacks of exactly 10 %',
      [purchase('r2', 100), chargeback('r2', 10)],
      { total_spend: 100, total_chargebacks: 10 },
      [],
    ],
    [
      'chargebacks of exactly 10 % that no binary fraction can express',
      [...Array(3).fill(purchase('r3', 0.1)), ...Array(3).fill(chargeback('r3', 0.01))],
      { total_spend: 0.3, total_chargebacks: 0.03 },
      [],
    ],
    [
      'chargebacks just above 10 %',
      [purchase('r4', 100), chargeback('r4', 10.0001)],
      { total_spend: 100, total_chargebacks: 10.0001 },
      [ratioRule],
    ],
    [
      'chargebacks just below 10 %',
      [purchase('r5', 100.0001), chargeback('r5', 10)],
      { total_spend: 100.0001, total_chargebacks: 10 },
      [],
    ],
    [
      'chargebacks first, and a purchase after',
      [chargeback('r6', 1), purchase('r6', 1)],
      { total_spend: 1, total_chargebacks: 1 },
      [ratioRule],
    ],
    [
      '4 cards within 10 minutes',
      cards('t1', ['1', '1', '1', '1']),
      { total_credit_cards: 4, unique_zip_codes: 1 },
      [],
    ],
    [
      '5 cards within 10 minutes',
      cards('t2', ['1', '1', '1', '1', '1']),
      { total_credit_cards: 5, unique_zip_codes: 1 },
      [testingRule],
    ],
    [
      'the same card 5 times',
      Array(5).fill(card('t3', 'c', '1')),
      { total_credit_cards: 1, unique_zip_codes: 1 },
      [],
    ],
  ];
  for (const [what, events, profile, rules] of cases) {
    it(`${what}: ${rules.length === 0 ? 'no rule restricts' : rules.join(' and ')}`, async () => {
      const user = (events[0] as { event_properties: { user_id: string } }).event_properties.user_id;
      await people.postAll(events);
      await people.counted(user, profile);
      expect(await people.restrictedBy(user)).to.deep.equal(rules);
      expect(await people.canMessage(user)).to.equal(!rules.includes('scam_message_rule'));
      expect(await people.canPurchase(user)).to.equal(!rules.some((rule) => rule !== 'scam_message_rule'));
    });
  }

  it('card_testing_rule restricts for 24 hours', async () => {
    await people.postAll(cards('day', ['1', '1', '1', '1', '1']));
    await people.counted('day', { total_credit_cards: 5, unique_zip_codes: 1 });
    const [restriction] = (await people.view('day')).restrictions;
    expect(restriction).to.include({ rule: testingRule, feature: 'purchase', source: 'rule' });
    expect(restriction!.evidence).to.have.length(5);
    expect(restriction!.expires_at).to.match(ISO);
    expect(Date.parse(restriction!.expires_at!) - Date.parse(restriction!.restricted_at)).to.equal(
      86_400_000,
    );
  });

  it('a restriction with an expiry ends by itself, with what the rule had counted', async () => {
    const hasty = [{ ...cardTestingRule, expiresAfterSeconds: 1 }];
    const other = await WeirFixture.start({ settings: NO_TRIPWIRE, workers: 0 });
    try {
      await other.worker({}, hasty);
      const there = new People(other.http);
      await there.postAll(cards('brief', ['1', '1', '1', '1', '1']));
      await there.counted('brief', { total_credit_cards: 5, unique_zip_codes: 1 });
      const [restriction] = (await there.view('brief')).restrictions;
      await until(10_000, 'the restriction ends', () => there.canPurchase('brief'));
      expect(Date.now()).to.be.at.least(Date.parse(restriction!.expires_at!));
      expect(await there.restrictedBy('brief')).to.deep.equal([]);
      await there.post(card('brief', 'card-5', '1'));
      await there.counted('brief', { total_credit_cards: 6, unique_zip_codes: 1 });
      expect(await there.canPurchase('brief')).to.equal(true);
    } finally {
      await other.close();
    }
  });

  it('a new worker and a new API know every decision of the old ones', async () => {
    await people.restrictByFlags('lasting');
    const before = await people.view('lasting');
    await weir.worker();
    const other = new People(await weir.api());
    expect(await other.view('lasting')).to.deep.equal(before);
    await other.post(flag('lasting'));
    await other.counted('lasting', { scam_message_flags: 3 });
    expect((await other.view('lasting')).restrictions).to.deep.equal(before.restrictions);
  });
});
