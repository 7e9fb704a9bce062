import { expect } from 'chai';
import { replayDeadLetter } from '../../../shared/dead-letters/dead-letters.js';
import { userDocument } from '../../../shared/keys.js';
import { HANGING_CARD, KILLING_CARD } from '../../support/dangerous-rule.js';
import { EngineFixture } from '../../support/engine-fixture.js';
import { event } from '../../support/partitions.js';
import { until } from '../../support/redis-server.js';
import { Fleet } from '../../support/worker-process.js';

interface Letter {
  readonly id: string;
  readonly message: { readonly subject: string; readonly id: string; readonly attempts: number };
  readonly error: string;
}

describe('dead letters of the engine', () => {
  let fixture: EngineFixture;
  beforeEach(() => {
    fixture = new EngineFixture();
  });
  afterEach(() => fixture.close());

  const card = (user: string, card_id: string, id?: string) =>
    event('credit_card_added', user, { card_id, zip_code: '1' }, id);

  async function letters(user: string): Promise<Letter[]> {
    const { redis, topic } = fixture;
    return (await redis.xrange(topic.keysOf(user).dead, '-', '+')).map(([id, fields]) => ({
      id,
      message: JSON.parse(fields[fields.indexOf('m') + 1]!),
      error: fields[fields.indexOf('error') + 1]!,
    }));
  }

  it('a message whose fold throws is kept with its error; its neighbours are folded as if it were absent', async () => {
    const { topic } = fixture;
    await fixture.worker();
    const [neighbour = ''] = topic.neighbours('u', 1);
    await topic.append([
      event('purchase_made', 'u', { amount: 1 }),
      event('purchase_made', 'u', { amount: 'ten' }, 'bad'),
      event('purchase_made', 'u', { amount: 2 }),
      event('purchase_made', neighbour, { amount: 4 }),
    ]);
    await topic.drained();
    const [letter, ...more] = await letters('u');
    expect(more).to.deep.equal([]);
    expect(letter?.error).to.equal('Error: amount is not a number greater than 0');
    expect(letter?.message).to.include({ subject: 'u', id: 'bad', attempts: 1 });
    const user = await topic.user('u');
    expect(user?.profile.spend).to.equal(30_000n);
    expect((await topic.user(neighbour))?.profile.spend).to.equal(40_000n);
  });

  it('a replayed dead letter keeps its id, is folded once the fault is mended, and is then a duplicate', async () => {
    const { topic, redis } = fixture;
    await fixture.worker();
    const document = topic.keysOf('u').doc(userDocument('default', 'u'));
    await redis.set(document, 'not JSON');
    await topic.append([card('u', 'c', 'bad')]);
    await topic.drained();
    const replay = async () => {
      const [letter] = await letters('u');
      expect(await replayDeadLetter(redis, topic.keysOf('u'), letter!.id)).to.equal('replayed');
      await topic.drained();
    };
    await replay();
    expect((await letters('u')).map(({ message }) => message.attempts)).to.deep.equal([2]);
    await redis.del(document);
    await replay();
    expect(await letters('u')).to.deep.equal([]);
    expect((await topic.user('u'))?.profile.cards).to.deep.equal([['c', '1']]);
    await topic.append([card('u', 'other', 'bad')]);
    await topic.drained();
    expect((await topic.user('u'))?.profile.cards).to.have.length(1);
  });

  it('what is no message, and what is no record batch, becomes a dead letter and stops nobody', async () => {
    const { topic, redis } = fixture;
    await fixture.worker();
    const { stream, dead } = topic.keysOf('u');
    await redis.xadd(
      stream,
      '*',
      'v',
      '1',
      'n',
      '3',
      'm',
      '[17,{"type":"purchase_made","subject":"u"},null]',
    );
    await redis.xadd(stream, '*', 'hello', 'world');
    await redis.xadd(stream, '*', 'v', '1', 'n', '1', 'm', '{not json');
    await redis.xadd(stream, '*', 'v', '1', 'n', '0', 'm', '[]');
    await topic.append([event('purchase_made', 'u', { amount: 1 })]);
    await until(3000, 'the purchase counts', async () => (await topic.user('u'))?.profile.spend === 10_000n);
    const kinds = (await redis.xrange(dead, '-', '+')).map(
      ([, fields]) => fields[fields.indexOf('kind') + 1],
    );
    expect(kinds).to.deep.equal(['message', 'message', 'message', 'entry', 'entry']);
  });

  it('a document that would grow too large is refused to the message that makes it so', async () => {
    const { topic } = fixture;
    await fixture.worker();
    const { DOCUMENT_BYTES_MAX } = await import('../../../consumer/engine/build-commit.js');
    await topic.append([
      event('purchase_made', 'u', { amount: 1 }),
      card('u', 'x'.repeat(DOCUMENT_BYTES_MAX), 'huge'),
      event('purchase_made', 'u', { amount: 1 }),
    ]);
    await topic.drained();
    const all = await letters('u');
    expect(all.map(({ message }) => message.id)).to.deep.equal(['huge']);
    expect(all[0]?.error).to.contain('DocumentTooLargeError');
    expect((await topic.user('u'))?.profile.spend).to.equal(20_000n);
  });

  it('full dead letters stop the partition, and deleting some lets it go on', async () => {
    const { topic, redis } = fixture;
    const { opsUrl } = await fixture.worker({ DEAD_LETTERS_MAX: '2' });
    await topic.append([event('nonsense', 'u'), event('nonsense', 'u')]);
    await topic.drained();
    await topic.append([event('purchase_made', 'u', { amount: 1 })]);
    const { dead, head } = topic.keysOf('u');
    const folded = await redis.hget(head, 'folded');
    const waits = `weir_partition_waiting{partition="events.${topic.indexOf('u')}"} 1`;
    await until(3000, 'the partition waits', async () =>
      (await (await fetch(`${opsUrl}/metrics`)).text()).includes(waits),
    );
    expect(await topic.backlog()).to.equal(1);
    expect(await redis.hget(head, 'folded')).to.equal(folded);
    await redis.xtrim(dead, 'MAXLEN', 1);
    await topic.drained();
    expect((await topic.user('u'))?.profile.spend).to.equal(10_000n);
  });

  for (const [what, cardId] of [
    ['kills', KILLING_CARD],
    ['hangs', HANGING_CARD],
  ] as const) {
    it(`a message that ${what} the process ends in the dead letters, alone, and its neighbours count once`, async function () {
      this.timeout(60_000);
      const { topic, redis } = fixture;
      const fleet = await Fleet.start(
        2,
        { ...fixture.environment, STALL_MS_MAX: '500', LOG_LEVEL: 'silent' },
        'test/support/dangerous-worker.js',
      );
      fixture.onClose(() => fleet.close());
      const [before = '', after = ''] = topic.neighbours('poisoned', 2);
      await topic.append([
        event('purchase_made', before, { amount: 1 }),
        card('poisoned', cardId, 'poison'),
        event('purchase_made', after, { amount: 2 }),
        event('purchase_made', 'poisoned', { amount: 3 }),
      ]);
      await until(50_000, 'every message is dealt with', async () => {
        await fleet.replaceDead();
        return (await topic.backlog()) === 0;
      });
      expect((await letters('poisoned')).map(({ message }) => message.id)).to.deep.equal(['poison']);
      expect((await topic.user(before))?.profile.spend).to.equal(10_000n);
      expect((await topic.user(after))?.profile.spend).to.equal(20_000n);
      expect((await topic.user('poisoned'))?.profile.spend).to.equal(30_000n);
      expect(await redis.hget(topic.keysOf('poisoned').head, 'cautious')).to.equal('');
    });
  }

  it('workers killed -9 over and over blame no innocent message', async function () {
    this.timeout(60_000);
    const { topic } = fixture;
    const fleet = await Fleet.start(1, { ...fixture.environment, LEASE_TTL_MS: '300', HEARTBEAT_MS: '100' });
    fixture.onClose(() => fleet.close());
    for (let round = 0; round < 8; round += 1) {
      await Promise.all(fleet.alive.map((worker) => worker.end('SIGKILL')));
      const batch = Array.from({ length: 200 }, () => event('purchase_made', 'u', { amount: 1 }));
      await topic.append(batch);
      await fleet.replaceDead();
    }
    await topic.drained(20_000);
    expect((await topic.user('u'))?.profile.spend).to.equal(16_000_000n);
    expect(await letters('u')).to.deep.equal([]);
  });
});
