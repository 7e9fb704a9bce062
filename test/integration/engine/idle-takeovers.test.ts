import { expect } from 'chai';
import { Redis } from 'ioredis';
import { Keys } from '../../../shared/keys.js';
import { testNamespace, testRedis } from '../../support/hooks.js';
import { HttpClient } from '../../support/http-client.js';
import { LoggedProcess } from '../../support/logged-process.js';
import { until } from '../../support/redis-server.js';

const alarm = 'owners died here: steps are tried first';

describe('a partition whose owners were killed while there was nothing to fold', function () {
  this.timeout(60_000);
  const namespace = testNamespace();
  const environment = {
    ...{ WEIR_NAMESPACE: namespace, PARTITIONS: '1', PORT: '0' },
    ...{ LEASE_TTL_MS: '300', HEARTBEAT_MS: '100' },
  };
  let redis: Redis;
  before(() => {
    redis = new Redis(testRedis().url);
  });
  const processes: LoggedProcess[] = [];
  after(async () => {
    for (const each of processes) await each.end();
    redis.disconnect();
  });

  it('raises no alarm before there is something to fold with care', async () => {
    const head = new Keys(namespace).partition({ topic: 'events', index: 0 }).head;
    // As four owners leave it that were killed one after the other.
    await redis.hset(head, 'takeovers', 4);
    const worker = start('consumer/main.js');
    await worker.says('owns events 0, usage 0, admissions 0');
    expect(await redis.hget(head, 'takeovers')).to.equal('5');
    expect(worker.messages(40)).to.not.include(alarm);
    const api = start('api/main.js');
    await until(10_000, 'the API listens', () => api.log.some(({ url }) => url !== undefined));
    const http = new HttpClient(String(api.log.find(({ url }) => url !== undefined)!['url']));
    const event = { name: 'scam_message_flagged', event_properties: { user_id: 'u' } };
    await until(5000, 'the API takes it', async () => (await http.post('/event', event)).status === 202);
    await worker.says(alarm);
  });

  function start(module: string): LoggedProcess {
    const started = LoggedProcess.start(module, { ...environment, REDIS_URL: testRedis().url });
    processes.push(started);
    return started;
  }
});
