import { expect } from 'chai';
import type { OutboxEntry } from '../../../consumer/engine/outbox-drain.js';
import { RestrictionHistory } from '../../../consumer/sinks/restriction-history.js';
import { createLogger } from '../../../shared/logging.js';
import { EngineFixture } from '../../support/engine-fixture.js';
import { event } from '../../support/partitions.js';
import { until } from '../../support/redis-server.js';
import { ArchiveUnderTest, T0 } from './archive-under-test.js';

describe('the history of restrictions in Postgres', () => {
  let test: ArchiveUnderTest;
  let history: RestrictionHistory;
  beforeEach(async () => {
    test = await ArchiveUnderTest.start();
    history = new RestrictionHistory(test.sinkPool(), createLogger('test', 'silent'));
  });
  afterEach(() => test.close());

  function entry(n: number, type = 'restricted', more: object = {}): OutboxEntry {
    const body = { tenant: 'default', user: 'u', at: T0 + n, message: `m${n}`, rule: 'r', ...more };
    return { id: `${T0 + n}-0`, type, body };
  }

  it('keeps each change once, whole, with when it happened', async () => {
    await history.write('events.3', [entry(1), entry(2, 'lifted', { cause: 'expired' })]);
    await history.write('events.3', [
      entry(2, 'lifted'),
      entry(3, 'override_set'),
      entry(4, 'override_removed'),
    ]);
    await history.write('events.4', [entry(1)]);
    await history.write('events.4', []);
    const rows = await test.query(
      'SELECT stream, outbox_id, type, happened_at FROM restriction_changes ORDER BY stream, outbox_id',
    );
    const types = ['restricted', 'lifted', 'override_set', 'override_removed', 'restricted'];
    expect(rows).to.deep.equal(
      types.map((type, i) => {
        const n = i === 4 ? 1 : i + 1;
        const stream = i === 4 ? 'events.4' : 'events.3';
        return { stream, outbox_id: `${T0 + n}-0`, type, happened_at: new Date(T0 + n) };
      }),
    );
    const [lifted] = await test.query(
      `SELECT tenant_id, subject, body FROM restriction_changes WHERE type = 'lifted'`,
    );
    const body = { ...(entry(2).body as object), cause: 'expired' };
    expect(lifted).to.deep.equal({ tenant_id: 'default', subject: 'u', body });
  });

  it('leaves out what Postgres refuses, and nothing else', async () => {
    const poison = entry(2, 'restricted', { reason: '\0' });
    await history.write('events.0', [entry(1), poison, entry(3, 'no such type'), entry(4)]);
    const rows = await test.query('SELECT outbox_id FROM restriction_changes ORDER BY 1');
    expect(rows.map(({ outbox_id: id }) => id)).to.deep.equal([`${T0 + 1}-0`, `${T0 + 4}-0`]);
  });

  it('is written by a worker as restrictions change', async () => {
    const fixture = new EngineFixture();
    try {
      await fixture.worker({}, undefined, [history]);
      await fixture.topic.append([event('scam_message_flagged', 'u'), event('scam_message_flagged', 'u')]);
      await until(3000, 'it is written', async () => (await changes()).length === 1);
      expect((await changes())[0]).to.include({ subject: 'u', type: 'restricted', tenant_id: 'default' });
    } finally {
      await fixture.close();
    }
  });

  function changes(): Promise<Record<string, unknown>[]> {
    return test.query('SELECT * FROM restriction_changes');
  }
});
