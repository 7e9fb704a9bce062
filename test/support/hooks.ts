import { nanoid } from 'nanoid';
import { PostgresServer } from './postgres-server.js';
import { RedisServer } from './redis-server.js';

/** Where there is no Redis, its package is installed first. */
const installMsMax = 300_000;

let server: RedisServer | undefined;
let postgres: Promise<PostgresServer> | undefined;

/**
 * One Redis for the whole run; every test takes a namespace of its own. One Postgres, from the first test on that asks
 * for it; every test takes a database of its own.
 */
export const mochaHooks = {
  async beforeAll(this: Mocha.Context): Promise<void> {
    this.timeout(installMsMax);
    server = await RedisServer.start();
  },
  async afterAll(): Promise<void> {
    await server?.stop();
    // One that did not start has failed its tests already.
    await postgres?.then(
      (running) => running.stop(),
      () => undefined,
    );
  },
};

export function testRedis(): RedisServer {
  if (server === undefined) throw new Error('the test Redis is not up');
  return server;
}

/** Started by the first call; `createDatabase` gives a test its own. */
export function testPostgres(): Promise<PostgresServer> {
  postgres ??= PostgresServer.start();
  return postgres;
}

/** A namespace that no other test uses. */
export function testNamespace(): string {
  return `test-${nanoid(10)}`;
}
