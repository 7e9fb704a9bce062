import { nanoid } from 'nanoid';
import { LeftBehind } from './left-behind.js';
import { PostgresServer } from './postgres-server.js';
import { RedisServer } from './redis-server.js';

/** Where there is no Redis, its package is installed first. */
const installMsMax = 300_000;

let starting: Promise<RedisServer> | undefined;
let server: RedisServer | undefined;
let postgres: Promise<PostgresServer> | undefined;
let before: LeftBehind | undefined;

/**
 * One Redis for each process that runs tests; every test takes a namespace of its own. One Postgres, from the first test
 * on that asks for it; every test takes a database of its own. Both end with the process. These hooks run once, or with
 * --parallel once for each file: the file that leaves something running is the one that fails.
 */
export const mochaHooks = {
  async beforeAll(this: Mocha.Context): Promise<void> {
    this.timeout(installMsMax);
    starting ??= untilExit(RedisServer.start());
    server = await starting;
    // After an `await`: mocha sets its own timer when this function has returned.
    before = new LeftBehind();
  },
  async afterAll(this: Mocha.Context): Promise<void> {
    await before?.expectNoMore(filesOf(this));
  },
};

async function untilExit<Server extends { lastUntilExit(): void }>(
  starting: Promise<Server>,
): Promise<Server> {
  const server = await starting;
  server.lastUntilExit();
  return server;
}

/** The files that these hooks enclose; with --parallel it is one. */
function filesOf({ test }: Mocha.Context): string {
  return [...new Set(test?.parent?.suites.map(({ file }) => file))].join();
}

export function testRedis(): RedisServer {
  if (server === undefined) throw new Error('the test Redis is not up');
  return server;
}

/** Started by the first call; `createDatabase` gives a test its own. */
export function testPostgres(): Promise<PostgresServer> {
  postgres ??= untilExit(PostgresServer.start());
  return postgres;
}

/** A namespace that no other test uses. */
export function testNamespace(): string {
  return `test-${nanoid(10)}`;
}
