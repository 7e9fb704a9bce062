import { expect } from 'chai';
import { RULES } from '../../../rules/restrictions/registry.js';
import type { Rule } from '../../../rules/restrictions/rule.js';
import { event } from '../../support/partitions.js';
import { until } from '../../support/redis-server.js';
import { NO_TRIPWIRE, WeirFixture } from '../../support/weir-fixture.js';
import type { TestWorker } from '../../support/workers.js';
import { People, purchase } from './people.js';

const briefRule: Rule = {
  ...{ name: 'brief_rule', version: 1, feature: 'purchase', mode: 'live' },
  description: 'No purchases for two seconds after the first.',
  evidence: ['purchase_made'],
  matches: ({ profile }) => (profile.spend > 0n ? 'it bought something' : null),
  expiresAfterSeconds: 2,
};
const rules = [briefRule, ...RULES];

describe('contract: an end that nobody folds', () => {
  let weir: WeirFixture;
  let worker: TestWorker;
  let people: People;
  beforeEach(async () => {
    weir = await WeirFixture.start({ settings: { ...NO_TRIPWIRE, DEAD_LETTERS_MAX: '1' }, workers: 0 });
    worker = await weir.worker({}, rules);
    await weir.ready();
    people = new People(weir.http);
  });
  afterEach(() => weir.close());

  async function restricted(user: string): Promise<number> {
    await people.post(purchase(user, 1));
    await people.counted(user, { total_spend: 1 });
    return Date.parse((await people.view(user)).restrictions[0]!.expires_at!);
  }

  const redisMs = async () => {
    const [seconds, micros] = await weir.redis.time();
    return Number(seconds) * 1000 + Number(micros) / 1000;
  };

  /** Reads until the end has come by Redis' clock: before it the answer is no, after it yes. */
  async function endsAtItsTime(user: string, end: number): Promise<void> {
    for (let reads = 0; reads < 10_000; reads += 1) {
      const before = await redisMs();
      const can = await people.canPurchase(user);
      const after = await redisMs();
      if (after < end) expect(can).to.equal(false);
      if (before < end) continue;
      expect(can).to.equal(true);
      expect(await people.restrictedBy(user)).to.deep.equal([]);
      // Nobody has folded it: it lies there as it was.
      expect((await weir.topic.user(user))?.restrictions.map(({ rule }) => rule)).to.deep.equal([
        'brief_rule',
      ]);
      return;
    }
    throw new Error('the end did not come');
  }

  it('holds all the same, while no worker lives', async () => {
    const end = await restricted('u');
    await worker.close();
    await endsAtItsTime('u', end);
  });

  it('holds all the same, while full dead letters stop its partition', async () => {
    const end = await restricted('u');
    await weir.topic.append([event('nonsense', 'u')]);
    const waits = `weir_partition_waiting{partition="events.${weir.topic.indexOf('u')}"} 1`;
    await until(5000, 'the partition waits', async () =>
      (await (await fetch(`${worker.opsUrl}/metrics`)).text()).includes(waits),
    );
    await endsAtItsTime('u', end);
  });

  it('of an override by hand holds too, and the rule that restricted before decides again', async () => {
    await people.restrictByFlags('u');
    const put = (user: string) =>
      weir.http.put(`/users/${user}/overrides/message`, {
        ...{ allow: false, reason: 'r', actor: 'a', expires_at: new Date(Date.now() + 600).toISOString() },
      });
    expect([(await put('u')).status, (await put('v')).status]).to.deep.equal([200, 200]);
    await worker.close();
    await until(5000, 'the override of v is over', () => people.canMessage('v'));
    expect(await people.canMessage('u')).to.equal(false);
    expect(await people.restrictedBy('u')).to.deep.equal(['scam_message_rule']);
    expect(await people.view('v')).to.deep.include({ restrictions: [], overrides: [] });
  });
});
