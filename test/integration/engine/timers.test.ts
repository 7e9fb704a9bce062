import { expect } from 'chai';
import { cardTestingRule } from '../../../rules/restrictions/catalog/card-testing-rule.js';
import { RULES } from '../../../rules/restrictions/registry.js';
import { EngineFixture } from '../../support/engine-fixture.js';
import { event } from '../../support/partitions.js';
import { patient, until } from '../../support/redis-server.js';

describe('timers', () => {
  let fixture: EngineFixture;
  beforeEach(() => {
    fixture = new EngineFixture();
  });
  afterEach(() => fixture.close());

  const quick = RULES.map((rule) =>
    rule === cardTestingRule ? { ...cardTestingRule, expiresAfterSeconds: 3 } : rule,
  );
  const cards = ['a', 'b', 'c', 'd', 'e'].map((card_id) =>
    event('credit_card_added', 'u', { card_id, zip_code: '1' }),
  );

  it('lift a restriction when it expires, with nothing else going on', async () => {
    const { topic, redis } = fixture;
    await fixture.worker({}, quick);
    await topic.append(cards);
    await topic.drained();
    const [restriction] = (await topic.user('u'))?.restrictions ?? [];
    expect(restriction?.rule).to.equal('card_testing_rule');
    expect(restriction!.expiresAt! - restriction!.restrictedAt).to.equal(3000);
    await until(6000, 'it is lifted', async () => (await topic.user('u'))?.restrictions.length === 0);
    const late = Number((await redis.time())[0]) * 1000 - restriction!.expiresAt!;
    expect(late).to.be.below(patient(1000));
    expect(await redis.zcard(topic.keysOf('u').timers)).to.equal(0);
  });

  it('that came due while nobody worked fire before the entries that came after them', async () => {
    const { topic } = fixture;
    const first = await fixture.worker({}, quick);
    await topic.append(cards);
    await topic.drained();
    await first.close();
    const expiresAt = (await topic.user('u'))!.restrictions[0]!.expiresAt!;
    await until(
      3000,
      'the timer is due',
      async () => Number((await fixture.redis.time())[0]) * 1000 > expiresAt,
    );
    // One more distinct card would keep the window at 5 and above, had the expiry not reset it first.
    await topic.append([event('credit_card_added', 'u', { card_id: 'f', zip_code: '1' })]);
    await fixture.worker({}, quick);
    await topic.drained();
    expect((await topic.user('u'))?.restrictions).to.deep.equal([]);
  });
});
