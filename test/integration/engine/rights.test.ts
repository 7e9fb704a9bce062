import { expect } from 'chai';
import { Redis } from 'ioredis';
import { RedisServer } from '../../support/redis-server.js';
import { NO_TRIPWIRE, WeirFixture } from '../../support/weir-fixture.js';

describe('a Redis user without channels', () => {
  let server: RedisServer;
  let weir: WeirFixture | undefined;
  before(async () => {
    server = await RedisServer.start();
    const admin = new Redis(server.url);
    await admin.call('ACL', 'SETUSER', 'weir', 'on', '>pw', '~*', '+@all', 'resetchannels');
    admin.disconnect();
  });
  after(async () => {
    await weir?.close();
    await server.stop();
  });

  it('gets its replies by polling; no head is dirty, and what was not published is counted', async () => {
    weir = await WeirFixture.start({
      redisUrl: `redis://weir:pw@127.0.0.1:${server.port}`,
      settings: { ...NO_TRIPWIRE, ADMISSION_DEADLINE_MS: '2000', REPLY_DEADLINE_MS: '2000' },
      workers: 0,
    });
    const { opsUrl } = await weir.worker();
    await weir.ready();
    const unpublished = async (): Promise<string | undefined> =>
      /^weir_unpublished_replies_total (\d+)$/m.exec(await (await fetch(`${opsUrl}/metrics`)).text())?.[1];
    expect(await unpublished()).to.equal('0');
    const override = await weir.http.put('/users/u/overrides/message', {
      ...{ allow: false, reason: 'r', actor: 'a' },
    });
    expect(override.status).to.equal(200);
    const evaluated = await weir.http.post('/v1/evaluate', {
      ...{ pipeline: 'ranking', priority: 'P1', estimated_tokens: 10 },
    });
    expect(evaluated.status).to.equal(200);
    expect(evaluated.body).to.include({ decision: 'ALLOW' });
    expect((await weir.http.get('/canmessage?user_id=u')).body).to.deep.equal({ can_message: false });
    const heads = await weir.redis.keys(`${weir.namespace}:*:head`);
    const dirty = await Promise.all(heads.map((head) => weir!.redis.hget(head, 'dirty')));
    expect(dirty.filter((field) => field !== null)).to.deep.equal(['0', '0']);
    expect(await unpublished()).to.equal('2');
  });
});
