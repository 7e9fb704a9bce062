import { nanoid } from 'nanoid';
import { RedisServer } from './redis-server.js';

let server: RedisServer | undefined;

/** One Redis for the whole run; every test takes a namespace of its own. A missing redis-server fails the run. */
export const mochaHooks = {
  async beforeAll(): Promise<void> {
    server = await RedisServer.start();
  },
  async afterAll(): Promise<void> {
    await server?.stop();
  },
};

export function testRedis(): RedisServer {
  if (server === undefined) throw new Error('the test Redis is not up');
  return server;
}

/** A namespace that no other test uses. */
export function testNamespace(): string {
  return `test-${nanoid(10)}`;
}
