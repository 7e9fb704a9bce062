import { expect } from 'chai';
import { until } from '../../support/redis-server.js';
import { WeirFixture } from '../../support/weir-fixture.js';
import { chargeback, flag, ISO, People, purchase, type RestrictionView } from './people.js';
import { rule, type TripwireView } from './rule-views.js';

const RULE = 'scam_message_rule';

describe('contract: tripwire', () => {
  let weir: WeirFixture;
  let people: People;
  afterEach(() => weir.close());

  async function start(settings: Readonly<Record<string, string>> = {}): Promise<void> {
    weir = await WeirFixture.start({ settings, workers: 2 });
    people = new People(weir.http);
  }

  const names = (count: number, prefix = 'u'): string[] =>
    Array.from({ length: count }, (_, i) => `${prefix}${i}`);

  const wire = async (name = RULE): Promise<TripwireView> => (await rule(weir.http, name)).tripwire;

  /** Makes users known without giving any rule a reason. */
  async function know(users: readonly string[]): Promise<void> {
    const { population } = await wire();
    await people.postAll(users.map((user) => purchase(user, 100)));
    await until(10_000, 'all users are known', async () => {
      return (await wire()).population === population + users.length;
    });
  }

  /** Every user is flagged twice: what a rule that runs away would see. */
  async function runAway(users: readonly string[]): Promise<void> {
    await people.postAll(users.map((user) => flag(user)));
    await people.postAll(users.map((user) => flag(user)));
    await weir.topic.drained();
  }

  async function restricted(users: readonly string[], name = RULE): Promise<string[]> {
    const found = await Promise.all(
      users.map(async (user) => (await people.restrictedBy(user)).includes(name)),
    );
    return users.filter((_, i) => found[i]);
  }

  const act = async (action: string): Promise<unknown> => {
    const { status, body } = await weir.http.post<{ lifted: number }>(`/rules/${RULE}/${action}`);
    expect(status).to.equal(200);
    return body.lifted;
  };

  it('stops a runaway rule at its share over all partitions and workers; rollback undoes it; re-arm lets it work', async () => {
    await start();
    const users = names(120);
    await know(users);
    // Another rule's restrictions are none of this tripwire's.
    await people.postAll([chargeback('u0', 50), chargeback('u1', 50)]);
    const started = Date.now();
    await runAway(users);

    const caught = await restricted(users);
    expect(caught).to.have.length(6);
    const tripped = await wire();
    const { tripped_at, ...figures } = tripped;
    expect(figures).to.deep.include({
      ...{ state: 'tripped', affected: 6, population: 120, share: 0.05, max_share: 0.05, max_users: null },
      ...{ min_population: 20, window_seconds: 300 },
    });
    expect(tripped_at).to.match(ISO);
    expect(Date.parse(tripped_at!)).to.be.within(started - 1, Date.now());
    expect((await wire('chargeback_ratio_rule')).state).to.equal('armed');

    // While tripped: counted, not restricted. A user who is restricted stays so.
    for (const user of users) await people.counted(user, countsOf(user, 2));
    await runAway(['new-0', 'u5']);
    await people.counted('new-0', { scam_message_flags: 2 });
    expect(await people.canMessage('new-0')).to.equal(true);
    expect(await people.canMessage(caught[0]!)).to.equal(false);

    expect(await act('rollback')).to.equal(6);
    expect(await restricted(users)).to.deep.equal([]);
    for (const user of caught) {
      expect((await people.view(user)).profile.scam_message_flags).to.equal(0);
    }
    expect(await restricted(users, 'chargeback_ratio_rule')).to.deep.equal(['u0', 'u1']);
    expect(await act('rollback')).to.equal(0);
    expect(await wire()).to.deep.include({ state: 'tripped', tripped_at });
    await runAway(['new-1']);
    expect(await people.canMessage('new-1')).to.equal(true);

    expect(await act('rearm')).to.equal(0);
    expect(await wire()).to.deep.include({ state: 'armed', affected: 0, share: 0, tripped_at: null });
    await people.restrictByFlags('new-2');
    expect(await wire()).to.deep.include({ state: 'armed', affected: 1, population: 123 });
    // Whoever was denied while it was tripped is decided at the next event.
    await people.post(flag('new-1'));
    await people.counted('new-1', { scam_message_flags: 3 });
    expect(await people.canMessage('new-1')).to.equal(false);
    expect(await wire()).to.deep.include({ affected: 2 });
  });

  function countsOf(user: string, scam_message_flags: number): object {
    const total_chargebacks = user === 'u0' || user === 'u1' ? 50 : 0;
    return { scam_message_flags, total_spend: 100, total_chargebacks };
  }

  it('rollback leaves alone whom the rule restricted before the window, and people', async () => {
    await start({ TRIPWIRE_WINDOW_SECONDS: '2' });
    await know(names(100));
    await people.restrictByFlags('early');
    await weir.http.put('/users/barred/overrides/message', { allow: false, reason: 'r', actor: 'a' });
    const [{ restricted_at }] = (await people.view('early')).restrictions as readonly [RestrictionView];
    // A whole window, and as much again for the time a decision may lag behind its event.
    const past = Date.parse(restricted_at) + 4000;
    await until(
      10_000,
      'the window has passed',
      async () => Date.now() > past && (await wire()).affected === 0,
    );
    await runAway(names(100));
    expect(await wire()).to.deep.include({
      state: 'tripped',
      affected: 5,
      population: 101,
      window_seconds: 2,
    });
    expect(await act('rollback')).to.equal(5);
    expect(await restricted(names(100))).to.deep.equal([]);
    expect(await people.canMessage('early')).to.equal(false);
    expect(await people.canMessage('barred')).to.equal(false);
  });

  it('a rollback that no worker answers in time is done later, and its users leave the window then', async () => {
    weir = await WeirFixture.start({ settings: { REPLY_DEADLINE_MS: '100' }, workers: 0 });
    people = new People(weir.http);
    const first = await weir.worker();
    await know(names(30, 'known'));
    await runAway(['late']);
    expect((await wire()).affected).to.equal(1);
    await first.close();
    const { status } = await weir.http.post(`/rules/${RULE}/rollback`);
    expect(status).to.equal(202);
    expect(await restricted(['late'])).to.deep.equal(['late']);
    await weir.worker();
    await until(10_000, 'the user is lifted', async () => (await restricted(['late'])).length === 0);
    await until(5000, 'the window is empty', async () => (await wire()).affected === 0);
  });

  it('rollback works on an armed tripwire too, and gives its users back to the window', async () => {
    await start();
    await know(names(100));
    for (const user of names(4)) await people.restrictByFlags(user);
    expect(await wire()).to.deep.include({ state: 'armed', affected: 4, share: 0.04 });
    expect(await act('rollback')).to.equal(4);
    expect(await restricted(names(4))).to.deep.equal([]);
    expect(await wire()).to.deep.include({ state: 'armed', affected: 0, share: 0 });
  });

  it('max_users caps what a large share would allow', async () => {
    await start({ TRIPWIRE_MAX_SHARE: '1', TRIPWIRE_MAX_USERS: '3' });
    await know(names(40));
    await runAway(names(40));
    expect(await restricted(names(40))).to.have.length(3);
    expect(await wire()).to.deep.include({ state: 'tripped', affected: 3, max_users: 3, max_share: 1 });
  });

  it('never trips below min_population known users, and counts the user it decides about', async () => {
    await start();
    await runAway(names(19));
    expect(await restricted(names(19))).to.have.length(19);
    expect(await wire()).to.deep.include({ state: 'armed', affected: 19, population: 19 });
    // The twentieth makes 20 known users, of whom 20 would be restricted.
    await runAway(['twentieth']);
    expect(await people.canMessage('twentieth')).to.equal(true);
    expect(await wire()).to.deep.include({ state: 'tripped', affected: 19, population: 20 });
  });

  it('trips also when partitions and workers meet all their first users at the same moment', async () => {
    weir = await WeirFixture.start({ workers: 0 });
    people = new People(weir.http);
    const users = names(100);
    await people.postAll(users.map((user) => purchase(user, 100)));
    await people.postAll(users.flatMap((user) => [flag(user), flag(user)]));
    await Promise.all([weir.worker(), weir.worker()]);
    await weir.topic.drained();
    const { state, affected, population } = await wire();
    expect([state, population]).to.deep.equal(['tripped', 100]);
    expect(await restricted(users)).to.have.length(affected);
    // Nobody counts as a share of fewer than 20: as many as that may go before the first is refused.
    expect(affected).to.be.below(20);
  });

  it('trips at exactly min_population with the first user, who is 5 % of 20', async () => {
    await start();
    await know(names(20));
    await people.restrictByFlags('u0');
    expect(await wire()).to.deep.include({ state: 'tripped', affected: 1, population: 20, share: 0.05 });
    await runAway(['u1']);
    expect(await people.canMessage('u1')).to.equal(true);
  });

  it('a user that is restricted again does not count twice', async () => {
    await start();
    await know(names(100));
    for (let round = 0; round < 6; round += 1) {
      await people.restrictByFlags('u0');
      const put = { allow: true, reason: 'r', actor: 'a' };
      expect((await weir.http.put('/users/u0/overrides/message', put)).status).to.equal(200);
      expect((await weir.http.delete('/users/u0/overrides/message')).status).to.equal(200);
    }
    expect(await wire()).to.deep.include({ state: 'armed', affected: 1 });
  });

  it('its figures can be changed while it runs', async () => {
    await start();
    await know(names(100));
    const limits = { max_share: 0.5, max_users: 10, min_population: 50, window_seconds: 60 };
    const { status } = await weir.http.put(`/rules/${RULE}/tripwire`, limits);
    expect(status).to.equal(200);
    expect(await wire()).to.deep.include(limits);
    expect(await wire('card_testing_rule')).to.deep.include({ max_share: 0.05, max_users: null });
    await runAway(names(100));
    expect(await restricted(names(100))).to.have.length(10);
  });
});
