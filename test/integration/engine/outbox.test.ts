import { expect } from 'chai';
import type { OutboxEntry, Sink } from '../../../consumer/engine/outbox-drain.js';
import { EngineFixture } from '../../support/engine-fixture.js';
import { event } from '../../support/partitions.js';
import { until } from '../../support/redis-server.js';

/** Keeps what it is given; fails the first `failures` times. */
class CollectingSink implements Sink {
  readonly name = 'collecting';
  readonly topic = 'events';
  readonly entries: OutboxEntry[] = [];
  calls = 0;

  constructor(
    private failures = 0,
    private readonly newer: readonly string[] = [],
  ) {}

  knows({ type }: OutboxEntry): boolean {
    return type === 'restricted' || this.newer.includes(type);
  }

  write(_partition: string, entries: readonly OutboxEntry[]): Promise<void> {
    this.calls += 1;
    if (this.failures > 0) {
      this.failures -= 1;
      return Promise.reject(new Error('the sink is away'));
    }
    this.entries.push(...entries);
    return Promise.resolve();
  }

  get users(): string[] {
    return this.entries.map(({ body }) => (body as { user: string }).user);
  }
}

describe('the outbox', () => {
  let fixture: EngineFixture;
  beforeEach(() => {
    fixture = new EngineFixture();
  });
  afterEach(() => fixture.close());

  const restrict = (user: string) =>
    fixture.topic.append([event('scam_message_flagged', user), event('scam_message_flagged', user)]);

  it('brings every change to the sink, in commit order', async () => {
    const sink = new CollectingSink();
    await fixture.worker({}, undefined, [sink]);
    const users = ['u', ...fixture.topic.neighbours('u', 5)];
    for (const user of users) await restrict(user);
    await until(3000, 'all have arrived', () => sink.entries.length === users.length);
    expect(sink.users).to.deep.equal(users);
    expect(sink.entries.map(({ type }) => type)).to.deep.equal(users.map(() => 'restricted'));
  });

  it('is kept for a sink that fails, and written when it works again', async () => {
    const sink = new CollectingSink(2);
    await fixture.worker({}, undefined, [sink]);
    await restrict('u');
    await until(3000, 'it has arrived', () => sink.entries.length === 1);
    expect(sink.calls).to.equal(3);
    const { outbox } = fixture.topic.keysOf('u');
    await until(1000, 'the outbox is empty', async () => (await fixture.redis.xlen(outbox)) === 0);
  });

  it('is drained by the next owner from where the last one stopped', async () => {
    const away = new CollectingSink(Number.POSITIVE_INFINITY);
    const first = await fixture.worker({}, undefined, [away]);
    await restrict('u');
    await fixture.topic.drained();
    await first.close();
    const sink = new CollectingSink();
    await fixture.worker({}, undefined, [sink]);
    await until(3000, 'it has arrived', () => sink.users.join() === 'u');
  });

  it('stops the partition while it is full, and loses nothing', async () => {
    const sink = new CollectingSink(3);
    const { redis, topic } = fixture;
    await fixture.worker({ OUTBOX_MAX: '1' }, undefined, [sink]);
    await restrict('u');
    await topic.drained();
    const [next = ''] = topic.neighbours('u', 1);
    const { outbox, head } = topic.keysOf('u');
    await until(2000, 'the outbox is full', async () => (await redis.xlen(outbox)) === 1);
    const folded = await redis.hget(head, 'folded');
    await restrict(next);
    expect(await redis.hget(head, 'folded')).to.equal(folded);
    await topic.drained();
    await until(3000, 'both have arrived', () => sink.users.join() === `u,${next}`);
  });
});
