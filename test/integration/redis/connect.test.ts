import { expect } from 'chai';
import type { Redis } from 'ioredis';
import { pino } from 'pino';
import { connectRedis, whenReady } from '../../../shared/redis/connect.js';
import { RedisServer, until } from '../../support/redis-server.js';

describe('a connection to Redis', () => {
  let server: RedisServer;
  let redis: Redis | undefined;
  before(async () => {
    server = await RedisServer.start();
  });
  after(async () => {
    redis?.disconnect();
    await server.stop();
  });

  it('is not called lost before there was one', async () => {
    const said: string[] = [];
    const write = (line: string): void => void said.push((JSON.parse(line) as { msg: string }).msg);
    await server.down();
    redis = connectRedis({ url: server.url, name: 'test', log: pino({}, { write }) });
    await until(5000, 'it fails', () => said.length > 0);
    await server.up();
    await whenReady(redis, 5000);
    await server.down();
    await until(5000, 'it is lost', () => said.length > 2);
    await server.up();
    await whenReady(redis, 5000);
    expect(said).to.deep.equal([
      'redis does not answer yet',
      'redis answers',
      'redis connection lost',
      'redis connection restored',
    ]);
  });

  it('that is given up while it is made is no false alarm', async () => {
    const said: string[] = [];
    const log = pino({}, { write: (line: string) => void said.push(line) });
    // At whatever step of the handshake.
    for (const event of ['connecting', 'connect', 'ready']) {
      for (let turns = 0; turns < 6; turns += 1) {
        const given = connectRedis({ url: server.url, name: 'test', log });
        const ended = new Promise((resolve) => given.once('end', resolve));
        const giveUp = async (): Promise<void> => {
          for (let turn = 0; turn < turns; turn += 1) await new Promise(setImmediate);
          given.disconnect();
        };
        if (event === 'connecting') await giveUp();
        else given.once(event, giveUp);
        await ended;
      }
    }
    expect(said).to.deep.equal([]);
  });
});
