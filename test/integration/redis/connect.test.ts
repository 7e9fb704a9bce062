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
});
