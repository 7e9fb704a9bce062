import { createServer, type Server } from 'node:net';
import { expect } from 'chai';
import { Redis } from 'ioredis';
import { pino } from 'pino';
import { connectRedis, whenReady } from '../../../shared/redis/connect.js';
import { testRedis } from '../../support/hooks.js';
import { freePort, RedisServer } from '../../support/redis-server.js';
import { run } from '../../support/run-program.js';

describe('a start with a wrong setting', function () {
  this.timeout(60_000);

  describe('of the database of Redis', () => {
    // Has 16 databases.
    let server: RedisServer;
    let redis: Redis;
    before(async () => {
      server = await RedisServer.start();
      redis = new Redis(server.url);
      await redis.config('SET', 'requirepass', 'hunter2');
    });
    after(async () => {
      redis.disconnect();
      await server.stop();
    });

    const urlWith = (path: string): string => server.url.replace('redis://', 'redis://:hunter2@') + path;

    it('ends API, worker and launcher with 1, and commands with 2, before anything is written', async () => {
      const DATABASE_URL = `postgres://weir:secret@127.0.0.1:${await freePort()}/weir`;
      const environment = { REDIS_URL: urlWith('/99'), DATABASE_URL };
      const refused = `REDIS_URL: ${server.url}/99: ERR DB index is out of range`;
      const api = await run('api', environment);
      expect(api.code).to.equal(1);
      // It starts without Redis too, and may listen by then.
      expect(api.lines.filter((line) => !line.startsWith('listening on '))).to.deep.equal([refused]);
      expect(await run('worker', environment)).to.deep.equal({ code: 1, lines: [refused] });
      expect(await run('launcher', environment)).to.deep.equal({
        code: 1,
        lines: [
          `error    ${server.url}/99 refuses us: ERR DB index is out of range`,
          'stopped  nothing is left running',
        ],
      });
      expect(await run('reconcile', environment)).to.deep.equal({
        code: 2,
        lines: [`not compared: ${refused}`],
      });
      expect(await run('repair', environment)).to.deep.equal({
        code: 2,
        lines: [`not repaired: ${refused}`],
      });
      expect(await redis.dbsize()).to.equal(0);
    });

    it('that is no number ends every program, in one line that says which part is wrong and why', async () => {
      const defect =
        'configuration: REDIS_URL: the index of the database must be a whole number from 0, and "1.5" is not';
      const environment = { REDIS_URL: urlWith('/1.5') };
      expect(await run('api', environment)).to.deep.equal({ code: 1, lines: [defect] });
      expect(await run('worker', environment)).to.deep.equal({ code: 1, lines: [defect] });
      expect(await run('launcher', environment)).to.deep.equal({ code: 1, lines: [`error    ${defect}`] });
      expect(await run('reconcile', environment)).to.deep.equal({
        code: 2,
        lines: [`not compared: ${defect}`],
      });
      expect(await run('seed', environment)).to.deep.equal({ code: 1, lines: [defect] });
    });

    it('is the one that the index names where Redis has it', async () => {
      const other = connectRedis({ url: urlWith('/3'), name: 'test', log: pino({ level: 'silent' }) });
      await whenReady(other, 5000);
      await other.set('weir:test', '1');
      other.disconnect();
      expect(await redis.dbsize()).to.equal(0);
      await redis.select(3);
      expect(await redis.get('weir:test')).to.equal('1');
      await redis.select(0);
    });
  });

  describe('of a port', () => {
    let taken: Server;
    let port: number;
    before(async () => {
      taken = createServer();
      port = await freePort();
      await new Promise<void>((resolve) => taken.listen(port, '127.0.0.1', resolve));
    });
    after(() => new Promise((resolve) => taken.close(resolve)));

    const inUse = (setting: string): string =>
      `port ${port} on 127.0.0.1 is in use by another program: end it, or set ${setting} (${setting}=0 takes a free one)`;

    it('that is in use ends API and worker with 1 and one line', async () => {
      const REDIS_URL = testRedis().url;
      expect(await run('api', { REDIS_URL, PORT: String(port) })).to.deep.equal({
        code: 1,
        lines: [inUse('PORT')],
      });
      expect(await run('worker', { REDIS_URL, OPS_PORT: String(port) })).to.deep.equal({
        code: 1,
        lines: [inUse('OPS_PORT')],
      });
    });

    it('that is in use by the time the second worker wants it stops the launcher before it starts any', async () => {
      const OPS_PORT = String(port - 1);
      const { code, lines } = await run('launcher', { REDIS_URL: testRedis().url, OPS_PORT });
      expect(code).to.equal(1);
      expect(lines).to.deep.equal([`error    ${inUse('OPS_PORT')}`, 'stopped  nothing is left running']);
    });
  });

  it('with a name that is nearly ours is said once, and the start goes on', async () => {
    // Ends because of the port: what it says before is what counts.
    const environment = { WORKER: '3', REDIS_URL: testRedis().url, PORT: '1', HOST: '192.0.2.1' };
    const warning = 'WORKER is set and is no setting of weir: WORKERS is';
    const { lines: api } = await run('api', environment);
    expect(api.filter((line) => line.includes('WORKER'))).to.deep.equal([warning]);
    for (const command of ['reconcile', 'repair', 'seed'] as const) {
      const { lines } = await run(command, { WORKER: '3' });
      expect(lines.slice(0, -1)).to.deep.equal([`warning: ${warning}`]);
    }
    const { lines: launcher } = await run('launcher', environment);
    expect(launcher).to.have.members([
      `warning  ${warning}`,
      'error    cannot listen on 192.0.2.1:1 (EADDRNOTAVAIL): set HOST or PORT',
      'stopped  nothing is left running',
    ]);
  });
});
