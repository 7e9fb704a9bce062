import { expect } from 'chai';
import { append, UNBOUNDED } from '../../../shared/append/append.js';
import { controlMessage, readControls } from '../../../shared/control/control-log.js';
import { until } from '../../support/redis-server.js';
import { NO_TRIPWIRE, WeirFixture } from '../../support/weir-fixture.js';
import { flag, People } from './people.js';
import { rule, rules } from './rule-views.js';

describe('contract: rules', () => {
  let weir: WeirFixture;
  let people: People;
  beforeEach(async () => {
    weir = await WeirFixture.start({ settings: NO_TRIPWIRE });
    people = new People(weir.http);
  });
  afterEach(() => weir.close());

  const setMode = (mode: string, more: object = {}) =>
    weir.http.put('/rules/scam_message_rule/mode', { mode, ...more });

  async function flagTwice(user: string): Promise<void> {
    await people.postAll([flag(user), flag(user)]);
    await people.counted(user, { scam_message_flags: 2 });
  }

  it('GET /rules lists the seed rules with version, mode, feature and an armed tripwire', async () => {
    const http = await weir.api({ TRIPWIRE_MIN_POPULATION: '20' });
    const shown = await rules(http);
    expect(shown.map(({ name, version, mode, feature }) => [name, version, mode, feature])).to.deep.equal([
      ['scam_message_rule', 1, 'live', 'message'],
      ['unique_zip_code_rule', 1, 'live', 'purchase'],
      ['chargeback_ratio_rule', 1, 'live', 'purchase'],
      ['card_testing_rule', 1, 'live', 'purchase'],
    ]);
    for (const { tripwire } of shown) {
      expect(tripwire).to.deep.include({
        ...{ state: 'armed', affected: 0, population: 0, share: 0, max_share: 0.05, max_users: null },
        ...{ min_population: 20, window_seconds: 300, tripped_at: null },
      });
    }
    await people.restrictByFlags('u');
    await people.post(flag('v'));
    await people.counted('v', { scam_message_flags: 1 });
    expect((await rule(http, 'scam_message_rule')).tripwire).to.include({
      ...{ state: 'armed', affected: 1, population: 2, share: 0.5 },
    });
    expect((await rule(http, 'card_testing_rule')).tripwire).to.include({
      affected: 0,
      population: 2,
      share: 0,
    });
  });

  it('shadow restricts nobody and counts whom the rule would have restricted', async () => {
    const { status, body } = await setMode('shadow');
    expect(status).to.equal(200);
    expect(body).to.include({ name: 'scam_message_rule', mode: 'shadow', lifted: 0 });
    expect((await rule(weir.http, 'scam_message_rule')).mode).to.equal('shadow');
    for (const user of ['a', 'b', 'c']) {
      await flagTwice(user);
      expect(await people.canMessage(user)).to.equal(true);
      expect(await people.restrictedBy(user)).to.deep.equal([]);
    }
    await people.post(flag('a'));
    await people.counted('a', { scam_message_flags: 3 });
    expect(await rule(weir.http, 'scam_message_rule')).to.include({ shadow_users: 3 });
    expect((await rule(weir.http, 'scam_message_rule')).tripwire.affected).to.equal(0);
    // Back to live: at the next event the rule decides on all that was counted.
    expect((await setMode('live')).status).to.equal(200);
    expect(await people.canMessage('a')).to.equal(true);
    await people.post(flag('a'));
    await people.counted('a', { scam_message_flags: 4 });
    expect(await people.restrictedBy('a')).to.deep.equal(['scam_message_rule']);
    expect(await people.canMessage('b')).to.equal(true);
  });

  it('off decides nothing and keeps counting; what the rule restricted before stays', async () => {
    await people.restrictByFlags('before');
    expect((await setMode('off')).status).to.equal(200);
    await flagTwice('during');
    expect(await people.canMessage('during')).to.equal(true);
    expect(await rule(weir.http, 'scam_message_rule')).to.include({ mode: 'off', shadow_users: 0 });
    expect(await people.canMessage('before')).to.equal(false);
    expect((await setMode('live')).status).to.equal(200);
    await people.post(flag('during'));
    await people.counted('during', { scam_message_flags: 3 });
    expect(await people.canMessage('during')).to.equal(false);
  });

  it('off with lift lifts all that the rule restricted, and nothing else', async () => {
    const restricted = ['a', 'b', 'c', 'd', 'e'];
    for (const user of restricted) await people.restrictByFlags(user);
    await people.restrictByChargebacks('other');
    await weir.http.put('/users/barred/overrides/message', { allow: false, reason: 'r', actor: 'a' });
    const { status, body } = await setMode('off', { lift: true, reason: 'runaway', actor: 'ann' });
    expect(status).to.equal(200);
    expect(body).to.include({ mode: 'off', lifted: 5 });
    for (const user of restricted) {
      expect(await people.canMessage(user)).to.equal(true);
      expect((await people.view(user)).profile.scam_message_flags).to.equal(0);
    }
    expect(await people.canPurchase('other')).to.equal(false);
    expect(await people.canMessage('barred')).to.equal(false);
    expect((await setMode('off', { lift: true })).body).to.include({ lifted: 0 });
  });

  it('a mode that was asked for while no worker lived is 202, and in force when the first one comes', async () => {
    const alone = await WeirFixture.start({ settings: { REPLY_DEADLINE_MS: '50' }, workers: 0 });
    try {
      const there = new People(alone.http);
      for (const answer of [
        await alone.http.put('/rules/scam_message_rule/mode', { mode: 'off' }),
        await alone.http.post('/rules/scam_message_rule/rearm'),
        await alone.http.post('/rules/scam_message_rule/rollback'),
      ]) {
        expect(answer.status).to.equal(202);
        expect(answer.body).to.include({ status: 'accepted' });
      }
      expect((await rule(alone.http, 'scam_message_rule')).mode).to.equal('off');
      await there.postAll([flag('u'), flag('u')]);
      await alone.worker();
      await there.counted('u', { scam_message_flags: 2 });
      expect(await there.canMessage('u')).to.equal(true);
    } finally {
      await alone.close();
    }
  });

  it('a mode survives its workers', async () => {
    await setMode('shadow');
    const first = weir;
    const second = await weir.worker();
    await until(10_000, 'the second worker has its share', () => second.worker.ownedPartitions.length === 12);
    await flagTwice('u');
    expect(await people.canMessage('u')).to.equal(true);
    expect(await rule(first.http, 'scam_message_rule')).to.include({ mode: 'shadow', shadow_users: 1 });
  });

  it('a control takes effect once, however often it reaches a partition', async () => {
    await people.restrictByFlags('early');
    expect((await setMode('off', { lift: true })).body).to.include({ lifted: 1 });
    expect((await setMode('live')).status).to.equal(200);
    await people.restrictByFlags('late');
    const controls = await readControls(weir.redis, weir.topic.keys);
    expect(controls.map((control) => control.action)).to.deep.equal(['mode', 'mode']);
    for (const control of controls) {
      for (const keys of weir.topic.all) {
        const again = controlMessage(control);
        await append(
          weir.redis,
          keys,
          [[again, { ...again, id: `${again.id}-copy` }].map((m) => JSON.stringify(m))],
          UNBOUNDED,
        );
      }
    }
    await weir.topic.drained();
    expect((await rule(weir.http, 'scam_message_rule')).mode).to.equal('live');
    expect(await people.canMessage('late')).to.equal(false);
    expect(await people.canMessage('early')).to.equal(true);
    await people.restrictByFlags('latest');
    expect((await weir.http.get<{ dead_letters: [] }>('/dead-letters')).body.dead_letters).to.deep.equal([]);
  });

  it('answers 404 to a rule that is not there, 422 to a mode that is none and 405 to a wrong method', async () => {
    const before = await weir.settledContents();
    for (const answer of [
      await weir.http.put('/rules/nothing/mode', { mode: 'off' }),
      await weir.http.post('/rules/nothing/rearm'),
      await weir.http.post('/rules/__proto__/rollback'),
    ]) {
      expect(answer.status).to.equal(404);
      expect(answer.body).to.include({ status: 404, code: 'unknown_rule' });
    }
    for (const body of [
      {},
      { mode: 'on' },
      { mode: 'LIVE' },
      { mode: ['live'] },
      { mode: 'live', lift: true },
    ]) {
      const answer = await weir.http.put('/rules/scam_message_rule/mode', body);
      expect(answer.status, JSON.stringify(body)).to.equal(422);
      expect(answer.body).to.include({ code: 'invalid_request' });
    }
    for (const action of ['rearm', 'rollback']) {
      const answer = await weir.http.get(`/rules/scam_message_rule/${action}`);
      expect([answer.status, answer.headers.get('allow')]).to.deep.equal([405, 'POST, OPTIONS']);
    }
    expect(await weir.contents()).to.deep.equal(before);
  });
});
