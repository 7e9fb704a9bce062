import { expect } from 'chai';
import pg from 'pg';
import { EngineFixture } from '../../support/engine-fixture.js';
import { testPostgres } from '../../support/hooks.js';
import { until } from '../../support/redis-server.js';
import { UsageTopic } from '../../support/usage-topic.js';

describe('a database of another installation', () => {
  const fixtures: EngineFixture[] = [];
  afterEach(async () => {
    for (const fixture of fixtures.splice(0)) await fixture.close();
  });

  function installation(): EngineFixture {
    const fixture = new EngineFixture();
    fixtures.push(fixture);
    return fixture;
  }

  it('is not written to: rows of one would be taken for rows of the other', async () => {
    const url = await (await testPostgres()).createDatabase();
    const settings = { DATABASE_URL: url, ARCHIVE_DELAY_MS: '0' };
    const owner = new pg.Client({ connectionString: url });
    await owner.connect();
    try {
      const rows = async (): Promise<string[]> => {
        const { rows: found } = await owner.query<{ event_id: string }>('SELECT event_id FROM usage_events');
        return found.map(({ event_id }) => event_id);
      };
      const data = ['/e', 1, 0, 0, null, null];
      const usage = (id: string) => ({
        type: 'usage',
        tenant: 't',
        subject: 'c',
        id,
        timestamp: Date.now(),
        data,
      });
      const first = installation();
      await first.worker(settings);
      await new UsageTopic(first.redis, first.namespace).append('t', 'c', usage('of the first'));
      await until(10_000, 'the first writes', async () => (await rows()).length === 1);
      const second = installation();
      await second.worker(settings);
      const topic = new UsageTopic(second.redis, second.namespace);
      await topic.append('t', 'c', usage('of the second'));
      await topic.drained();
      // What is accepted later by the one that may write is there; what was accepted before by the other is not.
      await new UsageTopic(first.redis, first.namespace).append('t', 'c', usage('also of the first'));
      await until(10_000, 'the first writes again', async () => (await rows()).length === 2);
      expect(await rows()).to.have.members(['of the first', 'also of the first']);
      expect(await second.redis.xlen(topic.keysOf('t', 'c').stream), 'it waits in Redis').to.equal(1);
    } finally {
      await owner.end();
    }
  });
});
