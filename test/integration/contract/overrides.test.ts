import { expect } from 'chai';
import { until } from '../../support/redis-server.js';
import { NO_TRIPWIRE, WeirFixture } from '../../support/weir-fixture.js';
import { chargeback, flag, ISO, People, purchase, UNKNOWN_PROFILE } from './people.js';

describe('contract: overrides', () => {
  let weir: WeirFixture;
  let people: People;
  before(async () => {
    weir = await WeirFixture.start({ settings: NO_TRIPWIRE });
    people = new People(weir.http);
  });
  after(() => weir.close());

  const because = { reason: 'looked into it', actor: 'ann@example.com' };
  const path = (user: string, feature: string): string => `/users/${user}/overrides/${feature}`;
  const put = (user: string, feature: string, body: object) => weir.http.put(path(user, feature), body);
  const inMs = (ms: number): string => new Date(Date.now() + ms).toISOString();

  it('allow: true lifts what a rule restricted, with the counters that caused it', async () => {
    await people.restrictByFlags('lifted');
    const { status, body } = await put('lifted', 'message', { allow: true, ...because });
    expect([status, body]).to.deep.equal([
      200,
      { status: 'applied', user_id: 'lifted', feature: 'message', allow: true, ...because, expires_at: null },
    ]);
    expect(await people.canMessage('lifted')).to.equal(true);
    expect(await people.view('lifted')).to.deep.include({ restrictions: [], profile: UNKNOWN_PROFILE });
    expect((await weir.http.delete(path('lifted', 'message'))).status).to.equal(200);
    await people.post(flag('lifted'));
    await people.counted('lifted', { scam_message_flags: 1 });
    expect(await people.canMessage('lifted')).to.equal(true);
    await people.post(flag('lifted'));
    await people.counted('lifted', { scam_message_flags: 2 });
    expect(await people.canMessage('lifted')).to.equal(false);
  });

  it('allow: true resets only what caused the restriction it lifts', async () => {
    await people.restrictByFlags('two-causes');
    await people.postAll([purchase('two-causes', 10), chargeback('two-causes', 9)]);
    await people.counted('two-causes', { scam_message_flags: 2, total_spend: 10, total_chargebacks: 9 });
    expect(await people.restrictedBy('two-causes')).to.deep.equal([
      'scam_message_rule',
      'chargeback_ratio_rule',
    ]);
    await put('two-causes', 'message', { allow: true, ...because });
    await people.counted('two-causes', { total_spend: 10, total_chargebacks: 9 });
    expect(await people.restrictedBy('two-causes')).to.deep.equal(['chargeback_ratio_rule']);
    await put('two-causes', 'purchase', { allow: true, ...because });
    await people.counted('two-causes', { total_spend: 10 });
    expect(await people.canPurchase('two-causes')).to.equal(true);
  });

  it('allow: true beats every rule for as long as it stands; the rules decide at once when it is deleted', async () => {
    await put('standing', 'message', { allow: true, ...because });
    await people.postAll([flag('standing'), flag('standing'), flag('standing')]);
    await people.counted('standing', { scam_message_flags: 3 });
    expect(await people.canMessage('standing')).to.equal(true);
    const { status, body } = await weir.http.delete(path('standing', 'message'));
    expect([status, body]).to.deep.equal([
      200,
      { status: 'applied', user_id: 'standing', feature: 'message', existed: true },
    ]);
    expect(await people.canMessage('standing')).to.equal(false);
    expect(await people.restrictedBy('standing')).to.deep.equal(['scam_message_rule']);
  });

  it('allow: false restricts a user no rule knows, of one feature, and says who did it and why', async () => {
    const started = Date.now();
    expect((await put('barred', 'purchase', { allow: false, ...because })).status).to.equal(200);
    expect(await people.canPurchase('barred')).to.equal(false);
    expect(await people.canMessage('barred')).to.equal(true);
    const { restrictions, profile } = await people.view('barred');
    const [restriction, ...more] = restrictions;
    expect(more).to.deep.equal([]);
    const { restricted_at, ...rest } = restriction!;
    expect(rest).to.deep.equal({
      ...{ feature: 'purchase', source: 'manual', rule: null, rule_version: null },
      ...{ reason: 'looked into it', evidence: [], expires_at: null },
    });
    expect(restricted_at).to.match(ISO);
    expect(Date.parse(restricted_at)).to.be.within(started - 1, Date.now());
    expect(profile).to.deep.equal(UNKNOWN_PROFILE);
    expect((await weir.http.delete(path('barred', 'purchase'))).status).to.equal(200);
    expect(await people.canPurchase('barred')).to.equal(true);
    expect((await people.view('barred')).restrictions).to.deep.equal([]);
  });

  it('the latest override of a feature stands alone', async () => {
    await put('changed', 'message', { allow: false, ...because });
    await put('changed', 'message', { allow: true, ...because });
    expect(await people.canMessage('changed')).to.equal(true);
    await put('changed', 'message', { allow: false, ...because, reason: 'again' });
    const { restrictions } = await people.view('changed');
    expect(restrictions.map(({ reason }) => reason)).to.deep.equal(['again']);
    await weir.http.delete(path('changed', 'message'));
    expect(await people.canMessage('changed')).to.equal(true);
  });

  it('deleting an override that is not there is 200 and changes nothing', async () => {
    const { status, body } = await weir.http.delete(path('nobody', 'message'));
    expect([status, body]).to.deep.equal([
      200,
      { status: 'applied', user_id: 'nobody', feature: 'message', existed: false },
    ]);
    expect((await people.view('nobody')).profile).to.deep.equal(UNKNOWN_PROFILE);
  });

  it('expires_at ends an override by itself, not before, and the rules decide at once', async () => {
    const expires_at = inMs(4000);
    await people.postAll([flag('timed-allow')]);
    for (const [user, allow] of [
      ['timed-bar', false],
      ['timed-allow', true],
    ] as const) {
      const { status, body } = await put(user, 'message', { allow, ...because, expires_at });
      expect(status).to.equal(200);
      expect(body).to.include({ allow, expires_at });
    }
    await people.post(flag('timed-allow'));
    await people.counted('timed-allow', { scam_message_flags: 2 });
    expect((await people.view('timed-bar')).restrictions.map((shown) => shown.expires_at)).to.deep.equal([
      expires_at,
    ]);
    expect(await people.canMessage('timed-bar')).to.equal(false);
    expect(await people.canMessage('timed-allow')).to.equal(true);
    expect(Date.now()).to.be.below(Date.parse(expires_at));
    await until(10_000, 'the ban ends', () => people.canMessage('timed-bar'));
    await until(10_000, 'the rule decides again', async () => !(await people.canMessage('timed-allow')));
    expect(Date.now()).to.be.at.least(Date.parse(expires_at));
    expect(await people.restrictedBy('timed-bar')).to.deep.equal([]);
    expect(await people.restrictedBy('timed-allow')).to.deep.equal(['scam_message_rule']);
  });

  it('an override that is put again without expires_at does not expire', async () => {
    const expires_at = inMs(3000);
    await put('extended', 'message', { allow: false, ...because, expires_at });
    await put('extended', 'message', { allow: false, ...because });
    await put('witness', 'message', { allow: false, ...because, expires_at });
    await until(10_000, 'the witness expires', () => people.canMessage('witness'));
    // A later message of the same user is folded after every timer that is due.
    await people.post(purchase('extended', 1));
    await people.counted('extended', { total_spend: 1 });
    expect(await people.canMessage('extended')).to.equal(false);
  });

  const refused: readonly (readonly [
    what: string,
    feature: string,
    body: unknown,
    code: string,
    at: string,
  ])[] = [
    ['an unknown feature', 'fly', { allow: true, ...because }, 'unknown_feature', 'feature'],
    ['a feature of every object', 'constructor', { allow: true, ...because }, 'unknown_feature', 'feature'],
    [
      'an expiry in the past',
      'message',
      { allow: true, ...because, expires_at: inMs(-1) },
      'invalid_request',
      'expires_at',
    ],
    [
      'an expiry that is no time',
      'message',
      { allow: true, ...because, expires_at: 'soon' },
      'invalid_request',
      'expires_at',
    ],
    ['no allow', 'message', because, 'invalid_request', 'allow'],
    ['allow as text', 'message', { allow: 'true', ...because }, 'invalid_request', 'allow'],
    ['no reason', 'message', { allow: true, actor: 'ann' }, 'invalid_request', 'reason'],
    ['no actor', 'message', { allow: true, reason: 'r' }, 'invalid_request', 'actor'],
    ['an empty actor', 'message', { allow: true, reason: 'r', actor: '' }, 'invalid_request', 'actor'],
  ];
  it('answers 422 to whatever is wrong, says where, and changes nothing', async () => {
    const before = await weir.settledContents();
    for (const [what, feature, body, code, at] of refused) {
      const answer = await weir.http.put<{ errors: { path: string }[] }>(path('refused', feature), body);
      expect(answer.status, what).to.equal(422);
      expect(answer.body, what).to.include({ code });
      expect(answer.body.errors.map((error) => error.path)).to.deep.equal([at]);
    }
    expect(await weir.contents()).to.deep.equal(before);
  });

  it('answers 422 to DELETE of an unknown feature', async () => {
    const { status, body } = await weir.http.delete(path('refused', 'fly'));
    expect(status).to.equal(422);
    expect(body).to.include({ code: 'unknown_feature' });
  });

  it('answers 202 when no worker answers in time; the first worker applies it', async () => {
    const alone = await WeirFixture.start({ settings: { REPLY_DEADLINE_MS: '50' }, workers: 0 });
    try {
      for (const answer of [
        await alone.http.put(path('later', 'message'), { allow: false, ...because }),
        await alone.http.delete(path('gone', 'message')),
      ]) {
        expect([answer.status, answer.body]).to.deep.equal([202, { status: 'accepted' }]);
      }
      const there = new People(alone.http);
      expect(await there.canMessage('later')).to.equal(true);
      await alone.worker();
      await until(10_000, 'the override is applied', async () => !(await there.canMessage('later')));
    } finally {
      await alone.close();
    }
  });
});
