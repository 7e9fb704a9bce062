import { expect } from 'chai';
import { Redis } from 'ioredis';
import { Keys } from '../../../shared/keys.js';
import { assertRights, RightsError } from '../../../shared/redis/rights.js';
import { freePort, RedisServer } from '../../support/redis-server.js';
import { run } from '../../support/run-program.js';

describe('the rights of the Redis user', () => {
  let server: RedisServer;
  let admin: Redis;
  const opened: Redis[] = [];
  before(async () => {
    server = await RedisServer.start();
    admin = new Redis(server.url);
  });
  after(async () => {
    admin.disconnect();
    await server.stop();
  });
  afterEach(async () => {
    for (const redis of opened.splice(0)) redis.disconnect();
    expect(await admin.keys('weir:{probe}*'), 'what was tried is gone').to.deep.equal([]);
  });

  async function user(...rules: string[]): Promise<string> {
    await admin.call('ACL', 'SETUSER', 'weir', 'reset', 'on', '>pw', ...rules);
    return `redis://weir:pw@127.0.0.1:${server.port}`;
  }

  /** @returns the warnings, or why it cannot be done without */
  async function probe(...rules: string[]): Promise<string[] | string> {
    const redis = new Redis(await user(...rules));
    opened.push(redis);
    const warnings: string[] = [];
    try {
      await assertRights(redis, new Keys('weir'), (line) => warnings.push(line));
      return warnings;
    } catch (error) {
      if (!(error instanceof RightsError)) throw error;
      return error.message.split('. weir needs')[0]!;
    }
  }

  const silence =
    'the user of REDIS_URL has no right to the channels weir:*: replies are read by polling, up to 200 ms later, ' +
    'and workers share out partitions by the heartbeat';

  // With the right to ask Redis what it may do, and without: then each command is tried.
  for (const [how, acl] of [
    ['asked', '+acl'],
    ['tried', '-acl'],
  ] as const) {
    it(`are found when they are ${how}`, async () => {
      const all = ['~weir:*', '+@all', acl];
      const missing = 'REDIS_URL: its user has no right to';
      expect(await probe('&weir:*', ...all)).to.deep.equal([]);
      expect(await probe(...all)).to.deep.equal([silence]);
      expect(await probe('&weir:*', ...all, '-xadd', '-zadd')).to.equal(`${missing} ZADD, XADD`);
      expect(await probe('&weir:*', ...all, '-unlink')).to.equal(`${missing} UNLINK`);
      expect(await probe('&weir:*', ...all, '-eval')).to.equal(`${missing} EVAL`);
      expect(await probe('&weir:*', '~other:*', '+@all', acl)).to.equal(`${missing} the keys weir:*`);
      expect(await probe('&weir:*', ...all, '-info')).to.deep.equal([
        'the user of REDIS_URL has no right to INFO: how full Redis is, and whether it may evict, is not known',
      ]);
    });
  }

  it('end API, worker and launcher with 1 and one line that names the missing one', async () => {
    const DATABASE_URL = `postgres://weir:secret@127.0.0.1:${await freePort()}/weir`;
    const REDIS_URL = await user('~weir:*', '&weir:*', '+@all', '-xtrim');
    const line = 'REDIS_URL: its user has no right to XTRIM';
    for (const program of ['api', 'worker', 'launcher'] as const) {
      const { code, lines } = await run(program, { REDIS_URL, DATABASE_URL });
      expect([program, code]).to.deep.equal([program, 1]);
      expect(
        lines.filter((each) => each.includes(line)),
        program,
      ).to.have.length(1);
    }
    expect(await admin.keys('*'), 'nothing was written').to.deep.equal([]);
  }).timeout(60_000);
});
